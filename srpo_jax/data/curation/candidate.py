"""Rows in curation: candidates that are still in, and drops with the rule that took them out."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from srpo_jax.data.generic_rows import lookup
from srpo_jax.data.sources import as_row
from srpo_jax.types import Problem
from srpo_jax.utils.jsonl import is_text

MATCHED = 300  # longest matched text that is kept, in characters


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A problem and the row that it comes from.

  Attributes:
    source: name of the source in the config.
    index: index of the row in the source.
    problem: the problem in the native form.
    reference: a program known to solve the problem. Training never sees it.
  """

  source: str
  index: int
  problem: Problem
  reference: str | None = None


@dataclasses.dataclass(frozen=True)
class Drop:
  """A dropped row, with the rule that dropped it and the text that the rule matched."""

  stage: str
  rule: str
  matched: str
  source: str
  index: int
  id: str | None
  row: Any
  detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def dropped(candidate: Candidate, stage: str, rule: str, matched: str, **detail: Any) -> Drop:
  """Returns the record of a candidate that a rule drops. `detail` adds fields to its line in the side file."""
  problem = candidate.problem
  return Drop(stage, rule, _cut(matched), candidate.source, candidate.index, problem.id, native_row(candidate), detail)


def native_row(candidate: Candidate) -> dict[str, Any]:
  """Returns the candidate in the native schema, without its reference program."""
  return as_row(candidate.problem)


def to_line(candidate: Candidate) -> str:
  """Returns the candidate as one line of JSON."""
  return dump({"source": candidate.source, "index": candidate.index, "problem": as_row(candidate.problem),
               "reference": candidate.reference})  # fmt: skip


def from_line(line: str | bytes) -> Candidate:
  """Reads a candidate from a line that `to_line` wrote."""
  row = json.loads(line)
  return Candidate(row["source"], row["index"], Problem(**row["problem"]), row["reference"])


def drop_line(drop: Drop) -> str:
  """Returns a dropped row as one line of JSON."""
  fields = {"rule": drop.rule, "matched": drop.matched, "source": drop.source, "index": drop.index, "id": drop.id}
  return dump(fields | dict(drop.detail) | {"row": drop.row})


def dump(value: Any) -> str:
  """Returns a value as one line of JSON that ends in a newline.

  Lone surrogates stay escaped. Values that JSON cannot hold become their text.
  """
  text = json.dumps(value, ensure_ascii=False, default=str)
  try:
    text.encode()
  except UnicodeEncodeError:
    text = json.dumps(value, default=str)
  return text + "\n"


def reference_program(row: Mapping[str, Any], format: str, columns: Mapping[str, str]) -> str | None:
  """Returns the program that a row gives as its solution, or None if it has no usable one."""
  if format == "mbpp":
    program = row.get("code")
  elif format == "humaneval":
    program = f"{row.get('prompt')}{row.get('canonical_solution') or ''}" if row.get("canonical_solution") else None
  else:
    program = lookup(row, columns.get("reference") or "reference")
  return program if isinstance(program, str) and is_text(program) and program.strip() else None


def _cut(text: str) -> str:
  text = " ".join(text.split())
  return text if len(text) <= MATCHED else text[: MATCHED - 3] + "..."
