"""Lines of the hostile list: a program, its tests, and the verdict that a tier must give if it stops the program."""

import dataclasses
from typing import Any

SECRET = 918_273_645  # expected value that a candidate must not find anywhere
MARKER = "srpo-hostile"  # part of the names of all files that these programs write

# Code that every program starts with. `Host` in run.py describes the `host` argument of the programs.
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
    name: Name in the table.
    program: Source of the program.
    correct: Verdict if the tier stops the program.
    reason: Text that the verdict's reason must contain.
    tests: Asserts, in which HOST stands for the facts of the host. For a script, pairs of (input, output).
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
