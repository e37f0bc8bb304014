"""Lines of the hostile list: a program, its tests, and the verdict on it where the tier holds."""

import dataclasses
from typing import Any

SECRET = 918_273_645  # an expected value that a candidate must not find anywhere
MARKER = "srpo-hostile"  # in the names of all files that these programs write

# What the programs below get as `host`: see `Host` in run.py.
COMMON = """
import ctypes, errno, os, signal, socket, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def attempts(**actions):
  succeeded = []
  for name, action in actions.items():
    try:
      if action() is not False:
        succeeded.append(name)
    except BaseException as error:
      if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        raise
  return succeeded
"""


@dataclasses.dataclass(frozen=True)
class Hostile:
  """One line of the list.

  Attributes:
    correct: the verdict on it where the tier holds.
    reason: a part of the verdict's reason.
    tests: asserts, in which HOST stands for facts of the host; a list of (input, output) for a script.
  """

  name: str
  program: str
  correct: int
  reason: str
  tests: tuple[Any, ...] = ("assert f(HOST) == []",)

  def problem_tests(self, host: dict[str, Any]) -> dict[str, Any]:
    if isinstance(self.tests[0], str):
      return {"type": "assert", "cases": [test.replace("HOST", repr(host)) for test in self.tests], "functions": ["f"]}
    return {"type": "stdin", "cases": [{"input": given, "output": wanted} for given, wanted in self.tests]}


def contained(name: str, program: str, test: str = "assert f(HOST) == []") -> Hostile:
  return Hostile(name, COMMON + program, 1, "passed", (test,))


def refused(name: str, program: str, reason: str, *tests: Any) -> Hostile:
  return Hostile(name, COMMON + program, 0, reason, tests or ("assert f(1) == 42",))
