"""Scores responses while the sampler goes on: submit each as it ends, collect the verdicts of a step at once."""

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

RewardFunction = Callable[[ScoreRequest, Verdict], Verdict]


class Scorer:
  """The rewards of a run.

      with Scorer() as scorer:
        for request in requests:
          scorer.submit(request)
        verdicts = scorer.collect()

  Args of the constructor:
    format_weight, language_penalty: of the two smaller parts of the reward; their sum is below 1.
    validator: the form an answer must have, `tags` or `json`.
    timeout_s: seconds that judging one response may take, but for code: see `sandbox`.
    workers: processes that judge math and domains of a user's own; None: half of the cores, from 2 to 8.
    sandbox: how programs are run; it starts with the first code response, or by `start_sandbox`.
    judges: domains of a user's own, domain -> module:function of its judge; see `user_judge`.
    function: a user's own reward, `(request, verdict) -> verdict`, applied to each verdict of a judge.

  Raises InputError for arguments out of range. One thread submits and collects.
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
    self._code = CodeJudge(validator, sandbox or SandboxOptions())
    self._judges: dict[str, Judge] = {"math": self._math, "code": self._code}
    self._judges |= {domain: UserJudge(self._pool) for domain in judges or ()}
    self._fault: str | None = None  # error of a user's judge
    self._requests: dict[str, ScoreRequest] = {}  # submitted since the last collect
    self._verdicts: dict[str, Verdict] = {}
    self._changed = threading.Condition()

  def start_sandbox(self) -> Sandbox:
    """The running sandbox. Raises InputError where no tier works that the options accept."""
    return self._code.start()

  def check(self, request: ScoreRequest) -> Judge:
    """The judge of a request's domain. Raises InputError where there is none, or what it needs is missing."""
    judge = self._judges.get(request.domain)
    if judge is None:
      known = ", ".join(self._judges)
      raise InputError(f"request {request.id}: domain {request.domain!r} has no judge, expected one of: {known}")
    judge.check(request)
    return judge

  def submit(self, request: ScoreRequest) -> None:
    """Takes a response; judging goes on in the background.

    Raises InputError where the domain has no judge, the gold answer or the tests are missing or cannot be used, or the
    id was submitted already.
    """
    judge = self.check(request)
    if request.id in self._requests:
      raise InputError(f"request {request.id}: field id: submitted twice since the last collect")
    kept = format_ok(request.response, ended=request.ended, domain=request.domain, validator=self._validator)
    mixed = language_mix(request.prompt, request.response)
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
          reason=reply.reason,
          pass_fraction=reply.pass_fraction,
          time_s=reply.time_s,
        )
        self._changed.notify_all()

    if not request.ended:
      return done(Reply(0, "truncated", 0.0, pass_fraction=0.0 if request.domain == "code" else None))
    try:
      judge.submit(request, done)
    except BaseException:
      del self._requests[request.id]  # or collect would wait for it
      raise

  @property
  def judged(self) -> int:
    """How many of the responses submitted since the last collect have their verdict."""
    return len(self._verdicts)

  def collect(self, waiting: Callable[[int], object] | None = None) -> dict[str, Verdict]:
    """The verdicts on everything submitted since the last collect, by id in that order; waits for the last of them.

    Args:
      waiting: called now and then with the number of verdicts that are there.

    Raises InputError that names a user's judge or reward function where it fails or returns no proper verdict. After
    an error of a judge the scorer can only be closed.
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
    """Whether the math judge takes the first of each pair of answers for correct where the second is the gold one."""
    replies: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()

    def answer_to(index: int) -> Done:
      return lambda reply: replies.put((index, reply))

    for index, (stated, gold) in enumerate(pairs):
      self._math.compare(stated, gold, answer_to(index))
    found = dict(replies.get() for _ in pairs)
    return [found[index].correct == 1 for index in range(len(pairs))]

  def worker_pids(self) -> list[int]:
    """The process ids of the workers that are running now."""
    return self._pool.pids() + self._code.worker_pids()

  def close(self) -> None:
    """Ends the workers; responses not collected are dropped."""
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
  return changed


def _problem(request: ScoreRequest, verdict: object) -> str | None:
  """What is wrong with what a user's function returned."""
  if not isinstance(verdict, Verdict):
    return f"expected a Verdict, found {type(verdict).__name__}"
  if verdict.id != request.id:
    return f"field id: expected {request.id!r}, found {verdict.id!r}"
  if verdict.correct is not None and (type(verdict.correct) is not int or verdict.correct not in (0, 1)):
    return f"field correct: expected 0, 1 or None, found {verdict.correct!r}"
  if verdict.correct is not None and not (isinstance(verdict.reward, numbers.Real) and math.isfinite(verdict.reward)):
    return f"field reward: expected a finite number, found {verdict.reward!r}"
  return None
