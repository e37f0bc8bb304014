"""Rules by which the published harness of a benchmark judges programs. `evaluate` uses them, training does not.

Sources: `lcb_runner/evaluation/testing_util.py` of LiveCodeBench at commit 28fef95e, and `human_eval/execution.py` of
HumanEval at commit 6d43fb98. MBPP has no harness of its own. Its rules are Python's `assert` and limits that its
references need.
"""

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Same = Callable[[Any, Any], bool]


def same_value(found: Any, expected: Any) -> bool:
  """Compares plain data by Python's `==`."""
  return bool(found == expected)


def same_json_value(found: Any, expected: Any) -> bool:
  """Compares plain data by Python's `==`. An outermost tuple counts as a list, because JSON has no tuples."""
  return bool((list(found) if isinstance(found, tuple) else found) == expected)


def same_lines(found: str, expected: str) -> bool:
  """Compares two outputs line by line, without the blanks around the whole and around each line.

  Two lines are the same if their texts are equal, or if all of their words are equal decimal numbers.
  """
  lines, wanted = (text.strip().split("\n") for text in (found, expected))
  return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _same_line(found: str, expected: str) -> bool:
  if found.strip() == expected.strip():
    return True
  try:
    return [*map(Decimal, found.split())] == [*map(Decimal, expected.split())]
  except InvalidOperation:
    return False


@dataclasses.dataclass(frozen=True)
class Rules:
  """Rules of one benchmark.

  Attributes:
    limits: limits of the sandbox that it sets, in seconds.
    same_value: comparison of a returned value with the expected one.
    same_output: comparison of the standard output with the expected one.
    in_function: True if a script runs as the body of a function, and a call of `sys.exit` is no failure.
    recursion_limit: Python's recursion limit. 0 leaves the sandbox's own.
    stated: the rules in words.
  """

  limits: Mapping[str, float]
  same_value: Same = same_value
  same_output: Same = same_lines
  in_function: bool = False
  recursion_limit: int = 0
  stated: str = ""

  def job(self) -> dict[str, Any]:
    """Returns the fields of a job that the rules set. See `Sandbox.submit`."""
    fields = {"limits": dict(self.limits), "in_function": self.in_function, "one_instance": True}
    return fields | ({"recursion_limit": self.recursion_limit} if self.recursion_limit else {})

  def asked(self, call: dict[str, Any], program: str) -> dict[str, Any]:
    """Returns a call of LiveCodeBench as its harness makes it, and any other call unchanged.

    The harness calls a method of `Solution` if the program's text has such a class, else a function of the module.
    """
    if not self.in_function or "entry_point" not in call:
      return call
    name = call["entry_point"].rpartition(".")[2]
    return {**call, "entry_point": f"Solution.{name}" if "class Solution" in program else name}


_TRAINING = "numbers exact, fractions within 1e-9, limits of the config"
RULES: Mapping[str, Rules] = {
  "livecodebench": Rules(
    {"test_s": 6.0, "response_s": 3600.0},
    same_value=same_json_value,
    in_function=True,
    recursion_limit=50_000,
    stated="6 s a test, values by ==, output by lines and decimal words",
  ),
  "humaneval": Rules({"test_s": 3.0, "response_s": 3.0}, stated="3 s a problem, values by =="),
  "mbpp": Rules({"test_s": 10.0, "response_s": 30.0}, stated="10 s a test, values by =="),
}


def stated(benchmark: str) -> str:
  """Returns the rules of a benchmark in words, or those of training for any other name."""
  return RULES[benchmark].stated if benchmark in RULES else _TRAINING
