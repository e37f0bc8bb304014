"""Plants evaluation problems in a training set in three disguises and prints how many decontamination finds.

    python benchmarks/decontamination.py [--train gsm8k_train.jsonl] [--eval aime24.jsonl]

Each problem replaces a training question three times: verbatim, wrapped in other text, and with its single-letter
variables renamed. The script prints every hit, the number of planted problems found, and the precision over the whole
set. Hits on questions that were not planted are marked, so that a reader can judge them.
"""

import os
import random
import re
import string
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.data.curation.eval_sets import QUESTION_COLUMNS
from srpo_jax.data.decontamination import EvalItem, Index
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.jsonl import json_rows


def main(args: Sequence[str]) -> None:
  data = Path(os.environ.get("SRPO_DATA", Path(__file__).parent.parent / ".." / "shared" / "data"))
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--train", type=Path, default=data / "gsm8k_train.jsonl")
  parser.add_argument("--eval", type=Path, default=data / "aime24.jsonl")
  options = parser.parse_args(args)
  problems, training = questions(options.eval), questions(options.train)
  if 3 * len(problems) > len(training):
    raise InputError(f"{options.train}: expected at least {3 * len(problems)} rows to plant in, found {len(training)}")
  index = Index(EvalItem(options.eval.stem, str(number), text) for number, text in enumerate(problems))
  for name, change in DISGUISES.items():
    plant(name, change, problems, list(training), index)


def plant(name: str, change: Callable[[str], str], problems: list[str], training: list[str], index: Index) -> None:
  """Plants every problem in one disguise and prints the hits, the number found and the precision."""
  step = len(training) // len(problems)
  planted = {number * step: number for number in range(len(problems))}
  for place, number in planted.items():
    training[place] = change(problems[number])
  found = index.find(training)
  for place, leak in sorted(found.items()):
    label = "planted" if place in planted else "NOT PLANTED"
    print(
      f"{name}: row {place} ({label}): item {leak.item_id}, {leak.share:.2f} of its 8-grams, as: {leak.matched[:100]}"
    )
  right = sum(found[place].item_id == str(number) for place, number in planted.items() if place in found)
  precision = sum(place in planted for place in found) / len(found) if found else 1.0
  print(
    f"{name}: {right} of {len(planted)} found, {len(found)} hits in {len(training)} rows, precision {precision:.3f}"
  )


def wrapped(text: str) -> str:
  return (
    f"Anna and Ben sit in a train for 3 hours. To pass the time they solve this:\n\n{text}\n\nWhat should Anna say?"
  )


def renamed(text: str) -> str:
  """Replaces every single-letter identifier with another letter."""
  letters = list(string.ascii_lowercase)
  random.Random(0).shuffle(letters)
  table = dict(zip(string.ascii_lowercase, letters, strict=True))
  table |= {key.upper(): value.upper() for key, value in table.items()}
  return re.sub(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", lambda match: table[match.group()], text)


DISGUISES: dict[str, Callable[[str], str]] = {"verbatim": lambda text: text, "wrapped": wrapped, "renamed": renamed}


def questions(file: Path) -> list[str]:
  """Reads the questions of a JSON Lines file."""
  found = []
  for place, row in json_rows(file):
    name = next((name for name in QUESTION_COLUMNS if isinstance(row, dict) and isinstance(row.get(name), str)), None)
    if name is None:
      raise InputError(f"{place}: expected a text under one of {', '.join(QUESTION_COLUMNS)}")
    found.append(row[name])
  return found


if __name__ == "__main__":
  run_cli(main)
