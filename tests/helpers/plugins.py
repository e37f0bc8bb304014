"""User-defined rewards, problems and advantages for the tests. Configs name them as tests.helpers.plugins:NAME."""

import dataclasses
import os
import signal
import zlib

import numpy as np

from srpo_jax.rewards import code
from srpo_jax.types import Problem, ScoreRequest, Verdict

_judged = 0


def parity(request: ScoreRequest, verdict: Verdict) -> Verdict:
  """Counts a response as correct if its checksum is even, so that a random model gets mixed groups.

  Truncated responses are always wrong.
  """
  correct = int(request.ended and zlib.crc32(request.response.encode()) % 2 == 0)
  return dataclasses.replace(verdict, correct=correct, reward=correct + 0.1 * len(request.response) % 0.3)


def parity_then_kill(request: ScoreRequest, verdict: Verdict) -> Verdict:
  """Judges like `parity` and kills the process at the verdict whose number is in SRPO_TEST_KILL_AT."""
  _signal_at("SRPO_TEST_KILL_AT", signal.SIGKILL)
  return parity(request, verdict)


def parity_then_term(request: ScoreRequest, verdict: Verdict) -> Verdict:
  """Judges like `parity` and sends SIGTERM to the process at the verdict whose number is in SRPO_TEST_TERM_AT."""
  _signal_at("SRPO_TEST_TERM_AT", signal.SIGTERM)
  return parity(request, verdict)


def _signal_at(variable: str, number: signal.Signals) -> None:
  global _judged
  _judged += 1
  if _judged == int(os.environ.get(variable, 0)):
    os.kill(os.getpid(), number)


def always_right(request: ScoreRequest, verdict: Verdict) -> Verdict:
  return dataclasses.replace(verdict, correct=1, reward=1.0)


def judged_then_kill(request: ScoreRequest, verdict: Verdict) -> Verdict:
  """Returns the verdict and kills the process at the verdict whose number is in SRPO_TEST_KILL_AT."""
  _signal_at("SRPO_TEST_KILL_AT", signal.SIGKILL)
  return verdict


def first_is_solved(request: ScoreRequest, verdict: Verdict) -> Verdict:
  """Judges even-numbered prompts as always solved and the others as never solved. Rewards vary in both cases."""
  solved = int(int(request.id.split("/")[0][1:]) % 2 == 0)
  return dataclasses.replace(verdict, correct=solved, reward=zlib.crc32(request.response.encode()) % 7 / 7)


def nothing_judged(request: ScoreRequest, verdict: Verdict) -> Verdict:
  return dataclasses.replace(verdict, correct=None, reward=float("nan"))


def problems() -> list[Problem]:
  return [Problem(f"q{i}", "math", f"What is {i} + {i}?", str(2 * i)) for i in range(40)]


def long_problems() -> list[Problem]:
  return [Problem(f"long{i}", "math", f"What is {' + '.join([str(i)] * 99)}?", str(99 * i)) for i in range(3)]


def centred(rewards: np.ndarray, judged: np.ndarray, truncated: np.ndarray) -> np.ndarray:
  return rewards - rewards.mean(axis=1, keepdims=True)


def flat(rewards: np.ndarray, judged: np.ndarray, truncated: np.ndarray) -> np.ndarray:
  return rewards.ravel()


def programs() -> list[Problem]:
  """Returns problems of the code domain. The small model cannot write code, so the tests judge it with `parity`."""
  tests = {"type": "assert", "cases": ["assert f(1) == 2"], "functions": ["f"]}
  return [Problem(f"p{i}", "code", f"Write f, number {i}.", tests=tests) for i in range(40)]


def order_dependent_programs() -> list[Problem]:
  """Returns problems of the code domain, and makes each response a program that depends on hashes and addresses."""

  def stated(response: str, validator: str) -> str:
    made = f"class A: pass\nitems = [A() for _ in range({20 + len(response)})]\nword = {response!r}\n"
    first = "[items.index(item) for item in set(items)][0] + hash(word) + int(random.random() * 8)"
    return f"import random\n{made}def f(x):\n  return ({first}) % 2\n"

  code.stated_program = stated
  tests = {"type": "assert", "cases": ["assert f(1) == 1"], "functions": ["f"]}
  return [dataclasses.replace(problem, tests=tests) for problem in programs()]


def no_model(**arguments: object) -> str:
  raise AssertionError("a base model was made")
