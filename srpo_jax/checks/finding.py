"""Findings of the checks, and their table."""

import dataclasses
from collections.abc import Sequence

PASS, WARN, FAIL = "pass", "warn", "fail"
WIDTH = 32  # width of the column of checks, fixed because findings are shown one by one


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line of the table."""

  level: str  # PASS | WARN | FAIL
  check: str
  found: str
  todo: str = ""  # advice to the user, for WARN and FAIL


def table(findings: Sequence[Finding]) -> str:
  """Returns the findings in columns. The advice is on a line below its finding."""
  width = max([WIDTH, *(len(f.check) for f in findings)])
  lines = []
  for f in findings:
    lines.append(f"{f.level}  {f.check:<{width}}  {f.found}")
    if f.todo:
      lines.append(f"{'':{width + 8}}-> {f.todo}")
  return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
  return ", ".join(f"{sum(f.level == level for f in findings)} {level}" for level in (PASS, WARN, FAIL))
