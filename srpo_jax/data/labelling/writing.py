"""Adds labels to rows, checks before sampling that the rows can be written, and writes the labelled data set."""

import argparse
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from srpo_jax.data.dataset import RecordProblems
from srpo_jax.data.difficulty import LABELS, UNLABELLED, label, pass_at_k
from srpo_jax.data.labelling.parts import Tally
from srpo_jax.data.record import as_json, example_of
from srpo_jax.data.records import Records
from srpo_jax.data.records_writer import check_target, check_version, write_records
from srpo_jax.data.row import Row
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import replaced

KS = (1, 4, 16)


def labelled(row: Row, tally: Tally) -> dict[str, Any]:
  """Returns a row with its labels and the tally of its responses."""
  new = dict(row) | {"rollouts": dataclasses.asdict(tally)}
  if row.get("difficulty") is not None and "rollouts" not in row:
    new["original_difficulty"] = row["difficulty"]
  rate = pass_at_k(tally.n, tally.n_correct, 1)
  new |= {"pass_rate": rate, "difficulty": None if rate is None else label(rate)}
  return new | {f"pass@{k}": pass_at_k(tally.n, tally.n_correct, k) for k in KS}


def check_writable(options: argparse.Namespace, rows: Sequence[Row]) -> None:
  """Raises InputError for anything that would prevent writing. Called before hours of sampling."""
  records = to_records(options, rows)
  if records:
    check_target(options.out)
    check_version(options.out, options.version or "1.0.0")
  elif options.out.is_dir():
    raise InputError(f"{options.out}: expected a file or a new path for JSON Lines, got a folder")
  if isinstance(rows, Records):
    return
  for index, row in enumerate(rows):
    try:
      for field, value in row.items():
        as_json(field, value)
      if records:
        example_of(labelled(row, Tally()), "row")
    except InputError as error:
      raise InputError(f"{options.input}: row {index}: {error}") from None


def to_records(options: argparse.Namespace, rows: Sequence[Row]) -> bool:
  """Returns true if the rows are written as records, false if as JSON Lines."""
  return options.format == "records" or (options.format == "auto" and isinstance(rows, Records))


def label_counts(tallies: Sequence[Tally]) -> Counter[str]:
  """Returns the number of rows per label, for labels that occur."""
  names = Counter(label(t.n_correct / t.n) if t.n else UNLABELLED for t in tallies)
  return Counter({name: names[name] for name in (*LABELS, UNLABELLED) if names[name]})


def write_labelled(
  options: argparse.Namespace, problems: Sequence[Problem], rows: Sequence[Row], tallies: Sequence[Tally]
) -> None:
  """Writes the labelled rows as records or JSON Lines, and prints the number of rows per label."""

  def found() -> Iterator[dict[str, Any]]:
    return (labelled(row, tally) for row, tally in zip(rows, tallies, strict=False))

  source = problems.records if isinstance(problems, RecordProblems) else None
  if to_records(options, rows):
    note = f"Labelled by {max(t.n + t.n_unjudged for t in tallies)} responses a row."
    name = source.name if source else re.sub(r"[^a-z0-9_]", "_", f"set_{options.out.stem}".lower())
    write_records(
      options.out,
      found(),
      name=name,
      version=options.version or (source.version if source else "1.0.0"),
      description=f"{source.description if source else name}\n{note}",
      licence=source.licence if source else "",
    )
  else:
    with replaced(options.out) as out:
      for row in found():
        out.write(json.dumps(row) + "\n")
  counts = ", ".join(f"{count} {name}" for name, count in label_counts(tallies).items())
  print(f"{options.out}: {len(tallies)} rows: {counts}")
