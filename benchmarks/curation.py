"""Curates synthetic rows and prints rows per second and the peak memory of all processes together.

    python benchmarks/curation.py --rows 1000000 --out runs/bench-curation

Rows are math and code questions of about 60 words. In every hundred rows, some are exact or near duplicates, leak an
evaluation item, or break a rule. Gold answers and programs are not verified here, because the time for that depends on
the answers and programs rather than on the number of rows. Peak memory is the sum of the proportional set sizes (which
count shared pages once) of the process and its workers, sampled five times a second.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = 20_000
ITEMS = 500  # number of evaluation items
_STAGE = re.compile(r"\d\d:\d\d:\d\d ([a-z, ]+): ([0-9.]+) s$")
PROGRAM = "def f(x):\n  return x + {}\n"


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--rows", type=int, default=100_000)
  parser.add_argument("--out", type=Path, default=Path("runs/bench-curation"))
  parser.add_argument("--workers", type=int, default=0)
  options = parser.parse_args()
  options.out.mkdir(parents=True, exist_ok=True)
  evaluation, train = options.out / "eval.jsonl", options.out / f"train-{options.rows}.jsonl"
  words = vocabulary()
  items = [question(np.random.default_rng([1, number]), words) for number in range(ITEMS)]
  write(evaluation, ({"id": number, "problem": item} for number, item in enumerate(items)))
  write(train, rows(options.rows, words, items))
  output = options.out / f"curated-{options.rows}-{int(time.time())}"
  stages, seconds, peak = measure(command(train, evaluation, output, options.workers))
  found = json.loads((output / "curation.json").read_text())["counts"]["native"]
  dropped = {stage: sum(rules.values()) for stage, rules in found["dropped"].items()}
  passed = stages["rules and decontamination"] + stages["duplicates"]
  print(f"{options.rows} rows through rules, decontamination and duplicates in {passed:.1f} s: "
        f"{options.rows / passed:.0f} rows/s")  # fmt: skip
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  processor = used.ru_utime + used.ru_stime
  print(f"{processor:.0f} s of processor time in total on {os.cpu_count()} cores; only wall seconds include other work")
  print(f"{seconds:.1f} s from the input file to the records: {stages}")
  print(f"peak memory {peak / 2**30:.2f} GiB, dropped {dropped}, kept {found['kept']}")


def command(train: Path, evaluation: Path, output: Path, workers: int) -> list[str]:
  """Returns the command that curates without verification, against one evaluation set."""
  sets = ("math500", "amc23", "mbpp", "humaneval", "livecodebench")
  return [
    sys.executable, "-m", "srpo_jax.curate", "--config=configs/curate.py", f"--config.output={output}",
    f"--config.sources.native.path={train}", f"--config.eval_sets.aime24.path={evaluation}",
    *(f"--config.eval_sets.{name}.path=none" for name in sets),
    "--config.verify.gold=False", "--config.verify.programs=False", f"--config.work.workers={workers}",
  ]  # fmt: skip


def vocabulary() -> list[str]:
  """Makes random words of four to nine letters."""
  rng = np.random.default_rng(0)
  letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
  return ["".join(rng.choice(letters, rng.integers(4, 10))) for _ in range(VOCABULARY)]


def question(rng: np.random.Generator, words: list[str]) -> str:
  """Makes a question of about 60 words with some numbers and formulas."""
  # The cube makes a few words common, as in any language.
  picks = (rng.random(56) ** 3 * len(words)).astype(int)
  parts = [words[i] for i in picks]
  a, b, c = rng.integers(2, 5000, 3)
  parts[10] = f"${a}x^2 + {b}y = {c}$,"
  parts[25] = f"$\\frac{{{b}}}{{{a}}}$ of {a}."
  parts[40] = f"and {c} {parts[40]}."
  return " ".join(parts).capitalize() + " Find the value of $x$."


def rows(count: int, words: list[str], items: list[str]) -> Iterator[dict[str, Any]]:
  """Yields native rows. The number of a row decides which defect it has, if any."""
  for number in range(count):
    rng = np.random.default_rng([2, number])
    kind = number % 100
    if kind < 5:  # exact duplicate of row 50 of this hundred
      yield row(
        f"r{number}",
        question(np.random.default_rng([2, number - number % 100 + 50]), words),
        number - number % 100 + 50,
      )
    elif kind < 8:  # row 60 of this hundred with two more words
      again = number - number % 100 + 60
      text = question(np.random.default_rng([2, again]), words)
      yield row(f"r{number}", f"Kindly now: {text}", again)
    elif kind == 8:
      yield row(f"r{number}", f"{words[number % 97]}. {items[number % ITEMS]} {words[number % 89]}", number)
    elif kind == 9:
      yield row(f"r{number}", "Prove that " + question(rng, words), number)
    elif kind < 20:
      cases = [f"assert f({x}) == {x + number % 50}" for x in range(6)]
      yield {
        "id": f"r{number}", "domain": "code", "question": question(rng, words),
        "tests": {"type": "assert", "cases": cases}, "reference": PROGRAM.format(number % 50),
      }  # fmt: skip
    else:
      yield row(f"r{number}", question(rng, words), number)


def row(id: str, text: str, answer: int) -> dict[str, Any]:
  return {"id": id, "domain": "math", "question": text, "answer": str(answer), "difficulty": "hard"}


def write(file: Path, entries: Iterator[dict[str, Any]] | Any) -> None:
  if file.exists():
    return
  partial = file.with_suffix(".partial")
  with partial.open("w") as stream:
    stream.writelines(json.dumps(entry) + "\n" for entry in entries)
  partial.rename(file)


def measure(arguments: list[str]) -> tuple[dict[str, float], float, int]:
  """Runs a command. Returns seconds by logged stage, total seconds, and peak bytes of its process tree."""
  begin, peak, ended = time.monotonic(), 0, threading.Event()
  stages: dict[str, float] = {}
  environment = os.environ | {"PYTHONPATH": os.getcwd()}
  with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:

    def watch() -> None:
      nonlocal peak
      while not ended.wait(0.2):
        peak = max(peak, sum(map(proportional, tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stderr is not None
    for line in process.stderr:
      sys.stderr.write(line)
      if match := _STAGE.search(line):
        stages[match[1]] = float(match[2])
    status = process.wait()
    ended.set()
    watcher.join()
  if status:
    sys.exit(status)
  return stages, time.monotonic() - begin, peak


def tree(pid: int) -> list[int]:
  """Returns the ids of a process and all its descendants."""
  found = [pid]
  for one in found:
    with contextlib.suppress(OSError):
      for task in Path(f"/proc/{one}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
  return found


def proportional(pid: int) -> int:
  """Returns the proportional set size of a process in bytes, or 0 if it cannot be read."""
  with contextlib.suppress(OSError):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
      if line.startswith("Pss:"):
        return int(line.split()[1]) << 10
  return 0


if __name__ == "__main__":
  main()
