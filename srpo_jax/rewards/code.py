"""Judges code responses: runs the program of an answer on every test of its problem, in the sandbox."""

import collections
import dataclasses
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from srpo_jax.rewards.cases import Suite, turn
from srpo_jax.rewards.execution import call_values, ending_of
from srpo_jax.rewards.format import answer_body, fenced, json_answer
from srpo_jax.rewards.match import has_nan, same_output
from srpo_jax.rewards.pool import Done, Reply
from srpo_jax.rewards.script_judge import ScriptJudge
from srpo_jax.sandbox.client import Execution, Outcome, Sandbox, SandboxOptions
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.utils.errors import InputError

SUITES = 4096  # problems whose suites are cached
MAX_PROGRAM = 1 << 18  # characters
_LANGUAGES = ("python", "py", "python3", "")  # of a fence with a program


class CodeJudge:
  """Judges programs by running them. A response is correct if every test passes.

  The reply also holds the fraction of tests that passed.
  """

  def __init__(
    self, validator: str, options: SandboxOptions, *, by_benchmark: bool = False, stop_at_failure: bool = False
  ):
    """Does not start the sandbox. It starts with the first request or with `start`.

    Args:
      validator: the form that an answer must have.
      options: how to run programs.
      by_benchmark: judge the tests of known benchmarks by their own rules.
      stop_at_failure: run no test after one that failed. Failed responses then have no `pass_fraction`.
    """
    self._validator = validator
    self._options = options
    self._by_benchmark, self._stop_at_failure = by_benchmark, stop_at_failure
    self._sandbox: Sandbox | None = None
    self._suites: collections.OrderedDict[int, tuple[Mapping[str, Any], Suite]] = collections.OrderedDict()
    self._lock = threading.Lock()

  def start(self) -> Sandbox:
    """Starts the sandbox if needed and returns it. Raises InputError if no tier that the options accept works."""
    with self._lock:
      if self._sandbox is None:
        self._sandbox = self._options.start()
      return self._sandbox

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError if the tests are missing, malformed or cannot be turned into calls. Starts the sandbox."""
    try:
      self._suite(request.tests)
    except InputError as error:
      raise InputError(f"request {request.id}: {error}") from None
    self.start()

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Judges the program in the `<answer>` of a response with `request.tests`."""
    program = stated_program(request.response, self._validator)
    if program is None:
      return done(Reply(0, "no single program in the <answer>", 0.0, pass_fraction=0.0))
    self.run(request.tests, program, done)

  def run(self, tests: Mapping[str, Any] | None, program: str, done: Done) -> None:
    """Judges a program with `tests`. Raises InputError if the tests cannot be used."""
    suite = self._suite(tests)
    if len(program) > MAX_PROGRAM:
      return done(Reply(0, "a program of over 256 KiB", 0.0, pass_fraction=0.0))
    problem = unreadable(program)
    if problem is not None:
      return done(Reply(0, problem, 0.0, pass_fraction=0.0))
    if suite.script is not None:
      return ScriptJudge(self.start(), suite.script, suite.rules).run(program, lambda reply: done(self._stated(reply)))
    if self._stop_at_failure and suite.mode == "stdin":
      return self._run_until_failure(suite, program, done)
    self.start().submit(suite.job(program), lambda outcome: done(self._stated(_judged_safely(suite, outcome))))

  def _run_until_failure(self, suite: Suite, program: str, done: Done, first: int = 0, time_s: float = 0.0) -> None:
    """Runs a script on one input after the other until it fails on one."""

    def judged(outcome: Outcome) -> None:
      reply = _judged_safely(suite.only(first), outcome)
      total_s = time_s + reply.time_s
      if reply.correct == 1 and first + 1 < len(suite):
        return self._run_until_failure(suite, program, done, first + 1, total_s)
      reason = reply.reason.replace("0 of 1 tests", f"test {first + 1} of {len(suite)}")
      done(self._stated(dataclasses.replace(reply, reason=reason, time_s=total_s)))

    submit = self.start().submit_next if first else self.start().submit
    submit(suite.only(first).job(program), judged)

  def _stated(self, reply: Reply) -> Reply:
    """Returns the reply without its `pass_fraction` if tests may not have run because one failed."""
    return dataclasses.replace(reply, pass_fraction=None) if self._stop_at_failure and reply.correct == 0 else reply

  def worker_pids(self) -> list[int]:
    """Returns the process ids of the supervisor and the zygotes."""
    return self._sandbox.pids() if self._sandbox is not None else []

  def close(self) -> None:
    """Stops the sandbox."""
    with self._lock:
      if self._sandbox is not None:
        self._sandbox.close()

  def _suite(self, tests: Mapping[str, Any] | None) -> Suite:
    """Returns the suite of `tests`, cached by the identity of the object."""
    with self._lock:
      known = self._suites.get(id(tests))
      if known is not None:
        self._suites.move_to_end(id(tests))
        return known[1]
    suite = _allowed(turn(tests, by_benchmark=self._by_benchmark), self._options.packages)
    with self._lock:
      assert tests is not None
      self._suites[id(tests)] = tests, suite  # keeping the object alive keeps its id unique
      if len(self._suites) > SUITES:
        self._suites.popitem(last=False)
    return suite


def stated_program(response: str, validator: str) -> str | None:
  """Returns the program of a response, or None if its `<answer>` does not hold exactly one program.

  The program is the only fenced block of the `<answer>`, or the whole `<answer>` if it has no fence. With the validator
  `json` the same applies to the text under the key `answer`.
  """
  body = answer_body(response)
  if body is None:
    return None
  if validator == "json":
    try:
      body = json_answer(body, latex=False)
    except ValueError:
      return None
    if not isinstance(body, str):
      return None
  if "```" not in body:
    return body if body.strip() else None
  block = fenced(body)
  return block[1] if block is not None and block[0] in _LANGUAGES and block[1].strip() else None


def unreadable(program: str) -> str | None:
  """Returns the reason why a text cannot be a program, or None. A lone surrogate could not be sent to the sandbox."""
  try:
    program.encode()
  except UnicodeEncodeError:
    return "not Unicode text"
  return None


def runnable(problems: Iterable[Problem], packages: Sequence[str] = ()) -> tuple[list[Problem], dict[str, str]]:
  """Splits problems into those that can be trained on and those with unusable tests.

  Args:
    packages: packages that programs may import besides the standard library.

  Returns:
    The usable problems, and a mapping from the id of each other problem to the reason.
  """
  kept, refused = [], {}
  for problem in problems:
    try:
      if problem.domain == "code":
        _allowed(turn(problem.tests), packages)
      kept.append(problem)
    except InputError as error:
      refused[problem.id] = str(error)
  return kept, refused


def _allowed(suite: Suite, packages: Sequence[str]) -> Suite:
  """Returns the suite unchanged. Raises InputError if it imports a forbidden module, since every program would fail."""
  for module in suite.modules:
    if module not in sys.stdlib_module_names and module not in packages:
      raise InputError(f"field tests: import {module}, which is not among the allowed packages")
  return suite


def _judged_safely(suite: Suite, outcome: Outcome) -> Reply:
  """Judges the outcome. If the comparison raises, the response is wrong, because no value may end a run."""
  try:
    return _judged(suite, outcome)
  except Exception as error:
    return Reply(0, f"the comparison failed: {type(error).__name__}", 0.0, False, pass_fraction=0.0)


def _judged(suite: Suite, outcome: Outcome) -> Reply:
  if outcome.executions is None:
    return Reply(None, f"the sandbox failed: {outcome.reason}", 0.0, False)
  time_s = sum(execution.time_s for execution in outcome.executions)
  passed, reason = (_scripts if suite.mode == "stdin" else _calls)(suite, outcome.executions)
  if passed == len(suite):
    return Reply(1, "passed", time_s, pass_fraction=1.0)
  return Reply(0, f"{passed} of {len(suite)} tests: {reason}", time_s, False, pass_fraction=passed / len(suite))


def _calls(suite: Suite, executions: Sequence[Execution]) -> tuple[int, str]:
  """Returns the number of passed tests and the first failure."""
  (execution,) = executions
  values, errors = call_values(execution.results, len(suite.calls))
  passed, reason = 0, ""
  for check in suite.checks:
    absent = [index for index in check.needs if index not in values]
    if not absent and check.passes(values, None if suite.rules is None else suite.rules.same_value):
      passed += 1
    elif not reason and absent:
      reason = errors.get(absent[0]) or errors.get(-1) or ending_of(execution) or "no value"
    elif not reason:
      spoiled = any(has_nan(values[index]) for index in check.needs)
      reason = "NaN" if spoiled else "another value"
  return passed, reason


def _scripts(suite: Suite, executions: Sequence[Execution]) -> tuple[int, str]:
  passed, reason = 0, ""
  for execution, expected in zip(executions, suite.outputs, strict=False):
    ending = ending_of(execution)
    same = suite.rules.same_output if suite.rules is not None else same_output
    if not ending and same(execution.stdout.decode("utf-8", "replace"), expected):
      passed += 1
    elif not reason:
      _, errors = call_values(execution.results, 0)
      reason = errors.get(-1) or ending or "another output"
  return passed, reason
