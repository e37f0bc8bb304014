"""Measures the time of the reflection analysis on the responses of a large run, or its errors on labelled cases.

    python benchmarks/reflection.py [--responses 100000] [--words 1700]
    python benchmarks/reflection.py --cases tests/data/cases [--errors]

Prints one JSON line. With `--cases` there is one for each half of the cases of language mixing, reflection and code. A
person who had not seen the rules wrote the cases. The rules were made with the half `open` in view, and the half
`closed` was run once they were final.

Responses consist of words from real questions with reflective phrases and code inserted at random. 1,700 English words
are about 2,500 tokens of a Qwen2.5 tokenizer.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.analysis.code_use import has_code
from srpo_jax.analysis.reflection import KINDS, phrases, reflect
from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.rewards.language import language_mix
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.jsonl import json_rows

STREWN = ("Wait,", "alternatively,", "let me check", "`3 * 4`", "no need to recheck", "```python\nprint(1)\n```\n")


def responses(n: int, words: int, questions: Path) -> Iterator[str]:
  rng = np.random.default_rng(0)
  pool = " ".join(row["question"] for _, row in json_rows(questions)).split()
  for _ in range(n):
    start = int(rng.integers(0, len(pool) - words))
    text = pool[start : start + words]
    for at in rng.integers(0, words, 10):
      text[at] = STREWN[at % len(STREWN)]
    yield " ".join(text) + "</think>\n<answer> \\boxed{12} </answer>"


CHECKS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {  # file of cases -> the check that they label
  "language": lambda row: language_mix(row["prompt"], row["text"]),
  "reflection": lambda row: any(phrases(kind, row["text"]) for kind in KINDS),
  "code": lambda row: has_code(row["text"]),
}
HALVES = ("open", "closed")


def score(folder: Path, name: str, half: str) -> tuple[dict[str, Any], list[Any]]:
  """Returns precision and recall of a check on one half of its cases, and the rows that it gets wrong."""
  rows = [row for _, row in json_rows(folder / f"{name}.jsonl") if row["half"] == half]
  found = [CHECKS[name](row) for row in rows]
  hits = sum(row["label"] for row, hit in zip(rows, found, strict=True) if hit)
  precision, recall = hits / max(1, sum(found)), hits / max(1, sum(row["label"] for row in rows))
  errors = [row for row, hit in zip(rows, found, strict=True) if hit != row["label"]]
  return {"n": len(rows), "precision": round(precision, 3), "recall": round(recall, 3)}, errors


def print_scores(folder: Path, *, show_errors: bool) -> None:
  for name in CHECKS:
    for half in HALVES:
      figures, errors = score(folder, name, half)
      print(json.dumps({"cases": name, "half": half, **figures}))
      for row in errors if show_errors else ():
        print(json.dumps(row, ensure_ascii=False))


def main(args: Sequence[str]) -> None:
  data = Path(os.environ.get("SRPO_DATA", Path(__file__).parent.parent / ".." / "shared" / "data"))
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--responses", type=int, default=100_000)
  parser.add_argument("--words", type=int, default=1700, help="words per response")
  parser.add_argument("--questions", type=Path, default=data / "gsm8k_train.jsonl", help="file with a question column")
  parser.add_argument("--cases", type=Path, help="folder of labelled cases, whose errors are counted instead")
  parser.add_argument("--errors", action="store_true", help="with --cases: also print the rows that are judged wrong")
  options = parser.parse_args(args)
  if options.cases:
    return print_scores(options.cases, show_errors=options.errors)
  check_positive(options, "responses", "words")
  if not options.questions.is_file():
    raise InputError(f"{options.questions}: no such file, expected JSON Lines with a question column (set SRPO_DATA)")
  seconds, cpu, characters, counts, code = 0.0, 0.0, 0, dict.fromkeys(KINDS, 0), 0
  for text in responses(options.responses, options.words, options.questions):
    started, cpu_started = time.perf_counter(), time.process_time()
    found = reflect(text)
    seconds += time.perf_counter() - started
    cpu += time.process_time() - cpu_started
    characters += len(text)
    code += found.code
    for kind in KINDS:
      counts[kind] += found.counts[kind]
  took = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}
  rate = {"responses_per_s": round(options.responses / seconds, 1)}
  print(json.dumps(took | rate | {"characters": characters, "code": code} | counts))


if __name__ == "__main__":
  run_cli(main)
