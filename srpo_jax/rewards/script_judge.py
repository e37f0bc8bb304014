"""Judges a program by a test script, with up to three jobs in the sandbox. See `script_tests`."""

from collections.abc import Callable, Sequence
from typing import Any

from srpo_jax.rewards.benchmark_rules import Rules
from srpo_jax.rewards.execution import call_values, ending_of
from srpo_jax.rewards.pool import Done, Reply
from srpo_jax.rewards.script_tests import Failed, TestScript
from srpo_jax.sandbox.client import Execution, Outcome, Sandbox

Calls = Sequence[Sequence[str]]


class ScriptJudge:
  """Judges one program. The jobs follow each other in the callbacks of the sandbox."""

  def __init__(self, sandbox: Sandbox, script: TestScript, rules: Rules | None):
    self._sandbox, self._script = sandbox, script
    self._limits = {} if rules is None else {"limits": dict(rules.limits)}

  def run(self, program: str, done: Done) -> None:
    """Judges a program and calls `done` with the reply. A script that cannot be run gives no verdict."""

    def record(calls: Calls) -> None:
      job = self._script.program_job(program, calls) | self._limits
      self._submit(job, done, lambda execution: self._judge(calls, execution, done))

    take = self._taking(done, lambda execution: self._single(execution, done, record))
    self._sandbox.submit(self._script.recording_job(), take)

  def _judge(self, calls: Calls, execution: Execution, done: Done) -> None:
    values, errors = call_values(execution.results, len(calls))
    answers = [values.get(index, Failed) for index in range(len(calls))]
    error = next(iter(errors.values()), "") or ending_of(execution)

    def state(failure: str) -> None:
      if not failure:
        return done(Reply(1, "passed", execution.time_s, pass_fraction=1.0))
      reason = error if Failed in answers and error else "another value" if failure == "AssertionError" else failure
      done(Reply(0, f"0 of 1 tests: {reason}", execution.time_s, False, pass_fraction=0.0))

    self._submit(self._script.judging_job(calls, answers), done, lambda judging: self._single(judging, done, state))

  def _submit(self, job: dict[str, Any], done: Done, then: Callable[[Execution], None]) -> None:
    self._sandbox.submit_next(job, self._taking(done, then))

  @staticmethod
  def _taking(done: Done, then: Callable[[Execution], None]) -> Callable[[Outcome], None]:
    def take(outcome: Outcome) -> None:
      if outcome.executions is None:
        return done(Reply(None, f"the sandbox failed: {outcome.reason}", 0.0, False))
      then(outcome.executions[0])

    return take

  def _single(self, execution: Execution, done: Done, then: Callable[[Any], None]) -> None:
    """Passes on the value of a job of the script itself."""
    values, errors = call_values(execution.results, 1)
    if 0 not in values:
      reason = next(iter(errors.values()), "") or ending_of(execution)
      return done(Reply(None, f"the test script failed: {reason}", 0.0, False))
    then(values[0])
