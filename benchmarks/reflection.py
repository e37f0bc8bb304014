"""Measures the time of the reflection analysis on the responses of a large run. Prints one JSON line.

    python benchmarks/reflection.py [--responses 100000] [--words 1700]

Responses consist of words from real questions with reflective phrases and code inserted at random. 1,700 English words
are about 2,500 tokens of a Qwen2.5 tokenizer.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.analysis.reflection import KINDS, reflect
from srpo_jax.cli.parser import ArgumentParser, check_positive
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


def main(args: Sequence[str]) -> None:
  data = Path(os.environ.get("SRPO_DATA", Path(__file__).parent.parent / ".." / "shared" / "data"))
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--responses", type=int, default=100_000)
  parser.add_argument("--words", type=int, default=1700, help="words per response")
  parser.add_argument("--questions", type=Path, default=data / "gsm8k_train.jsonl", help="file with a question column")
  options = parser.parse_args(args)
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
