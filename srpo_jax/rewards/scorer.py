"""Scores responses in the background while the sampler runs.

Each response is submitted when it ends. The verdicts of a step are collected together.
"""

import dataclasses
import math
import numbers
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from srpo_jax.rewards.code import CodeJudge
from srpo_jax.rewards.format import check_validator, format_ok
from srpo_jax.rewards.judges import Judge, MathJudge
from srpo_jax.rewards.language import language_mix
from srpo_jax.rewards.pool import Done, Reply, WorkerPool, default_workers
from srpo_jax.rewards.reward import check_weights, srpo_reward
from srpo_jax.rewards.user_judge import UserJudge
from srpo_jax.sandbox.client import Sandbox, SandboxOptions
from srpo_jax.types import ScoreRequest, Verdict
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.text import visible_line

REASON_LENGTH = 300  # characters of a verdict's reason that are kept
RewardFunction = Callable[[ScoreRequest, Verdict], Verdict]


class Scorer:
  """Scores the responses of a run.

      with Scorer() as scorer:
        for request in requests:
          scorer.submit(request)
        verdicts = scorer.collect()

  Only one thread may submit and collect.

  Args:
    format_weight: the reward for the required form.
    language_penalty: the penalty for mixed languages. Its sum with `format_weight` must be below 1.
    validator: the form that an answer must have, `tags` or `json`.
    timeout_s: seconds that judging one response may take. Code has its own limits in `sandbox`.
    workers: the number of processes that judge math and user-defined domains. None: half of the cores, from 2 to 8.
    sandbox: how to run programs. The sandbox starts with the first code response or with `start_sandbox`.
    judges: the judges of user-defined domains, domain -> module:function. See `user_judge`.
    function: a user's reward function, `(request, verdict) -> verdict`, applied to the verdict of every judge.
    by_benchmark: judge the code of known benchmarks by their own rules. See `benchmark_rules`.
    stop_at_failure: run no test of a program after one that failed.

  Raises:
    InputError: an argument is out of range.
  """

  def __init__(
    self,
    *,
    format_weight: float = 0.1,
    language_penalty: float = 0.1,
    validator: str = "tags",
    timeout_s: float = 4.0,
    workers: int | None = None,
    sandbox: SandboxOptions | None = None,
    judges: Mapping[str, str] | None = None,
    function: RewardFunction | None = None,
    by_benchmark: bool = False,
    stop_at_failure: bool = False,
  ):
    check_weights(format_weight, language_penalty)
    check_validator(validator)
    if function is not None and not callable(function):
      raise InputError(f"function: expected a callable (request, verdict) -> verdict, found {function!r}")
    self._weights = {"format_weight": format_weight, "language_penalty": language_penalty}
    self._validator = validator
    self._function = function
    self._pool = WorkerPool(default_workers() if workers is None else workers, timeout_s, judges)
    self._math = MathJudge(validator, self._pool)
    code = {"by_benchmark": by_benchmark, "stop_at_failure": stop_at_failure}
    self._code = CodeJudge(validator, sandbox or SandboxOptions(), **code)
    self._judges: dict[str, Judge] = {"math": self._math, "code": self._code}
    self._judges |= {domain: UserJudge(self._pool) for domain in judges or ()}
    self._fault: str | None = None  # error of a user's judge
    self._requests: dict[str, ScoreRequest] = {}  # submitted since the last collect
    self._verdicts: dict[str, Verdict] = {}
    self._changed = threading.Condition()

  def start_sandbox(self) -> Sandbox:
    """Starts the sandbox if needed and returns it. Raises InputError if no tier that the options accept works."""
    return self._code.start()

  def check(self, request: ScoreRequest) -> Judge:
    """Returns the judge of a request's domain.

    Raises:
      InputError: the domain has no judge, or the request lacks something that the judge needs.
    """
    judge = self._judges.get(request.domain)
    if judge is None:
      known = ", ".join(self._judges)
      raise InputError(f"request {request.id}: domain {request.domain!r} has no judge, expected one of: {known}")
    judge.check(request)
    return judge

  def submit(self, request: ScoreRequest) -> None:
    """Submits a response, which is judged in the background.

    Raises:
      InputError: the domain has no judge, the gold answer or the tests are missing or unusable, or the id has already
        been submitted since the last collect.
    """
    judge = self.check(request)
    if request.id in self._requests:
      raise InputError(f"request {request.id}: field id: submitted twice since the last collect")
    kept = format_ok(
      request.response,
      ended=request.ended and request.well_ended,
      domain=request.domain,
      validator=self._validator,
      think_opened=request.think_opened,
    )
    mixed = language_mix(request.prompt if request.asked is None else request.asked, request.response)
    self._requests[request.id] = request

    def done(reply: Reply) -> None:
      reward = srpo_reward(reply.correct, int(kept), int(mixed), **self._weights)
      with self._changed:
        self._fault = self._fault or reply.fault
        self._verdicts[request.id] = Verdict(
          id=request.id,
          format=int(kept),
          language_mix=int(mixed),
          correct=reply.correct,
          reward=reward,
          reason=visible_line(reply.reason, REASON_LENGTH),
          pass_fraction=reply.pass_fraction,
          time_s=reply.time_s,
        )
        self._changed.notify_all()

    if not request.ended:
      return done(Reply(0, "truncated", 0.0, pass_fraction=0.0 if request.domain == "code" else None))
    try:
      judge.submit(request, done)
    except BaseException:
      del self._requests[request.id]  # otherwise `collect` would wait for it forever
      raise

  @property
  def judged(self) -> int:
    """Number of responses submitted since the last collect that have a verdict."""
    return len(self._verdicts)

  def collect(self, waiting: Callable[[int], object] | None = None) -> dict[str, Verdict]:
    """Waits until all responses submitted since the last collect are judged.

    Args:
      waiting: called from time to time, while this waits, with the number of verdicts so far.

    Returns:
      The verdicts by id, in the order of submission.

    Raises:
      InputError: a user's judge or reward function failed or returned an invalid result. The message names the
        function. After an error of a judge the scorer can only be closed.
    """
    with self._changed:
      while len(self._verdicts) < len(self._requests) and self._fault is None:
        self._changed.wait()
        if waiting is not None:
          waiting(self.judged)
      if self._fault is not None:
        raise InputError(self._fault)
      requests, verdicts = self._requests, self._verdicts
      self._requests, self._verdicts = {}, {}
    if self._function is None:
      return {id: verdicts[id] for id in requests}
    return {id: _applied(self._function, request, verdicts[id]) for id, request in requests.items()}

  def same_answers(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Compares pairs (answer, gold answer) with the math judge. Returns True for each pair whose answer is correct."""
    replies: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()

    def answer_to(index: int) -> Done:
      return lambda reply: replies.put((index, reply))

    for index, (stated, gold) in enumerate(pairs):
      self._math.compare(stated, gold, answer_to(index))
    found = dict(replies.get() for _ in pairs)
    return [found[index].correct == 1 for index in range(len(pairs))]

  def worker_pids(self) -> list[int]:
    """Returns the process ids of the running workers and of the sandbox."""
    return self._pool.pids() + self._code.worker_pids()

  def close(self) -> None:
    """Stops the workers and the sandbox. Responses that have not been collected are dropped."""
    self._pool.close()
    self._code.close()

  def __enter__(self) -> "Scorer":
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.close()


def _applied(function: RewardFunction, request: ScoreRequest, verdict: Verdict) -> Verdict:
  name = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', repr(function))}"
  try:
    changed = function(request, verdict)
  except Exception as error:
    raise InputError(f"reward function {name} failed on {request.id}: {type(error).__name__}: {error}") from error
  problem = _problem(request, changed)
  if problem:
    raise InputError(f"reward function {name} on {request.id}: {problem}")
  return dataclasses.replace(changed, reason=visible_line(changed.reason, REASON_LENGTH))


def _problem(request: ScoreRequest, verdict: object) -> str | None:
  """Returns the problem with the result of a user's reward function, or None."""
  if not isinstance(verdict, Verdict):
    return f"expected a Verdict, found {type(verdict).__name__}"
  if verdict.id != request.id:
    return f"field id: expected {request.id!r}, found {verdict.id!r}"
  if verdict.correct is not None and (type(verdict.correct) is not int or verdict.correct not in (0, 1)):
    return f"field correct: expected 0, 1 or None, found {verdict.correct!r}"
  if verdict.correct is not None and not (isinstance(verdict.reward, numbers.Real) and math.isfinite(verdict.reward)):
    return f"field reward: expected a finite number, found {verdict.reward!r}"
  if not isinstance(verdict.reason, str):
    return f"field reason: expected text, found {type(verdict.reason).__name__}"
  return None
