"""A row on its way through curation, and what is kept of one that was dropped."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from srpo_jax.data.generic_rows import lookup
from srpo_jax.data.sources import as_row
from srpo_jax.types import Problem
from srpo_jax.utils.jsonl import is_text

MATCHED = 300  # characters of a matched text that are kept


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A problem with where it is from. `reference`: a program known to solve it, which training is never shown."""

  source: str  # its name in the config
  index: int  # of the row in the source
  problem: Problem
  reference: str | None = None


@dataclasses.dataclass(frozen=True)
class Drop:
  """A row that a rule took out: which rule, the text that it matched, and the row itself."""

  stage: str
  rule: str
  matched: str
  source: str
  index: int
  id: str | None
  row: Any
  detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def dropped(candidate: Candidate, stage: str, rule: str, matched: str, **detail: Any) -> Drop:
  """The drop of a candidate by a rule."""
  problem = candidate.problem
  return Drop(stage, rule, _cut(matched), candidate.source, candidate.index, problem.id, native_row(candidate), detail)


def native_row(candidate: Candidate) -> dict[str, Any]:
  """The candidate in the native schema, without its reference."""
  return as_row(candidate.problem)


def to_line(candidate: Candidate) -> str:
  """The candidate as one line of JSON."""
  return dump({"source": candidate.source, "index": candidate.index, "problem": as_row(candidate.problem),
               "reference": candidate.reference})  # fmt: skip


def from_line(line: str | bytes) -> Candidate:
  """The candidate that `to_line` wrote."""
  row = json.loads(line)
  return Candidate(row["source"], row["index"], Problem(**row["problem"]), row["reference"])


def drop_line(drop: Drop) -> str:
  """A dropped row as one line of JSON."""
  fields = {"rule": drop.rule, "matched": drop.matched, "source": drop.source, "index": drop.index, "id": drop.id}
  return dump(fields | dict(drop.detail) | {"row": drop.row})


def dump(value: Any) -> str:
  """One line of JSON with a newline; lone surrogates stay escaped, and what JSON has no form for becomes its text."""
  text = json.dumps(value, ensure_ascii=False, default=str)
  try:
    text.encode()
  except UnicodeEncodeError:
    text = json.dumps(value, default=str)
  return text + "\n"


def reference_program(row: Mapping[str, Any], format: str, columns: Mapping[str, str]) -> str | None:
  """The program that a row gives as a solution, where its layout has one."""
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
