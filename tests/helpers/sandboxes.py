"""Helpers that send jobs to a sandbox and wait for their outcomes."""

import json
import threading
from typing import Any

from srpo_jax.sandbox.client import Outcome, Sandbox

DOUBLE = "def f(x):\n  return 2 * x\n"


def calls(program: str, *expressions: str) -> dict[str, Any]:
  return {"mode": "calls", "program": program, "calls": [{"expression": text} for text in expressions]}


def submit(sandbox: Sandbox, job: dict[str, Any]):
  """Submits a job. Returns a function that waits for its outcome, and the list that collects all its outcomes."""
  done, found = threading.Event(), []

  def take(outcome: Outcome) -> None:
    found.append(outcome)
    done.set()

  sandbox.submit(job, take)

  def wait() -> Outcome:
    assert done.wait(600), "no outcome"
    return found[0]

  return wait, found


def ask(sandbox: Sandbox, job: dict[str, Any]) -> Any:
  """Runs a job and returns its executions."""
  outcome = submit(sandbox, job)[0]()
  assert outcome.executions is not None, outcome.reason
  return outcome.executions


def value(sandbox: Sandbox, program: str, expression: str) -> Any:
  (execution,) = ask(sandbox, calls(program, expression))
  (line,) = [json.loads(text) for text in execution.results.splitlines()]
  assert line[1] == "value", line
  return line[2]
