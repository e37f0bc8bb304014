r"""Compares math verdicts with answers whose truth is known, beside the verdicts of Math-Verify.

    python benchmarks/verdicts.py --input FILE

Each row of the input has `gold`, `answer`, `right` (1 or 0), and optionally `n` (how often the pair occurred, default
1), `source` and `math_verify` (its verdict, 1 or 0). The counts are weighted by `n`. A row whose gold answer is not
read as a value is not judged. Rows that disagree, ours or Math-Verify's against `right`, go to the side file with the
reasons. Pairs in the list of doubtful labels (`verdicts_left_out.jsonl`) count nowhere. Suites are tests of other
projects, whose labels may assert a convention.

There is no question, so every answer is judged under the strict rule about its form (`docs/rewards.md`).
"""

import collections
import dataclasses
import hashlib
import json
import queue
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.rewards.judges import MathJudge
from srpo_jax.rewards.pool import Done, Reply, WorkerPool
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.jsonl import json_rows, replaced

LEFT_OUT = Path(__file__).parent / "verdicts_left_out.jsonl"
SUITE = "suite/"  # prefix of sources whose pairs are tests, not answers of models


@dataclasses.dataclass(frozen=True)
class Pair:
  """An answer to judge, with its truth."""

  gold: str
  answer: str
  right: int
  n: int = 1
  source: str = "all"
  math_verify: int | None = None  # None: not in the file

  @property
  def digest(self) -> str:
    """First 16 hex digits of the SHA-256 of gold and answer, as in the list of pairs left out."""
    return hashlib.sha256(f"{self.gold}\x1f{self.answer}".encode("utf-8", "replace")).hexdigest()[:16]


def read_pairs(file: Path) -> list[Pair]:
  """Returns the rows of a file. Raises InputError that names the row and the field if a row is bad."""
  return [_pair(row, where) for where, row in json_rows(file)]


def _pair(row: Any, where: str) -> Pair:
  if not isinstance(row, dict):
    raise InputError(f"{where}: expected one JSON object")
  for field in ("gold", "answer"):
    if not isinstance(row.get(field), str):
      raise InputError(f"{where}: field {field}: expected text, found {json.dumps(row.get(field))[:60]}")
  n, verdict = row.get("n", 1), row.get("math_verify")
  if row.get("right") not in (0, 1) or verdict not in (0, 1, None):
    raise InputError(f"{where}: fields right and math_verify: expected 0 or 1")
  if not isinstance(n, int) or n < 1:
    raise InputError(f"{where}: field n: expected a whole number of at least 1, found {json.dumps(n)[:60]}")
  return Pair(row["gold"], row["answer"], int(row["right"]), n, str(row.get("source", "all")), verdict)


def judge(pairs: Sequence[Pair], workers: int, timeout_s: float) -> tuple[list[Reply], float]:
  """Returns the reply to each pair and the seconds that all took, without the start of the workers."""
  pool = WorkerPool(workers, timeout_s)
  try:
    math = MathJudge("tags", pool)
    _replies(math, [Pair(r"\sqrt{12}", r"2\sqrt{3}", 1)] * workers)  # waits until the workers are up
    started = time.monotonic()
    return _replies(math, pairs), time.monotonic() - started
  finally:
    pool.close()


def _replies(math: MathJudge, pairs: Sequence[Pair]) -> list[Reply]:
  arrived: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()

  def answer_to(index: int) -> Done:
    return lambda reply: arrived.put((index, reply))

  for index, pair in enumerate(pairs):
    math.compare(pair.answer, pair.gold, answer_to(index))
  found = dict(arrived.get() for _ in pairs)
  return [found[index] for index in range(len(pairs))]


def table(pairs: Iterable[Pair], replies: Iterable[Reply]) -> list[str]:
  """Returns a Markdown table of errors by source, ours beside Math-Verify's."""
  counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
  for pair, reply in zip(pairs, replies, strict=True):
    suite = pair.source.startswith(SUITE)
    for name in (pair.source, "**all suites**" if suite else "**all answers of models**"):
      count = counts[name]
      truth = "right" if pair.right else "wrong"
      count[truth] += pair.n
      count["unjudged"] += pair.n * (reply.correct is None)
      count[f"ours {truth}"] += pair.n * ((reply.correct == 1) != pair.right)
      count["theirs"] += pair.n * (pair.math_verify is not None)
      count[f"theirs {truth}"] += pair.n * (pair.math_verify not in (None, pair.right))
  lines = [
    "| source | right | refused | Math-Verify | wrong | accepted | Math-Verify | not judged |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ]
  for name in sorted(counts, key=lambda name: (name.strip("*").startswith(("suite", "all suites")), "*" in name, name)):
    lines.append(_line(name, counts[name]))
  return lines


def _line(name: str, count: "collections.Counter[str]") -> str:
  def share(errors: int, of: int) -> str:
    return f"{errors} ({errors / of:.2%})" if of else "0"

  cells = [name]
  for truth in ("right", "wrong"):
    theirs = share(count[f"theirs {truth}"], count[truth]) if count["theirs"] else "-"
    cells += [str(count[truth]), share(count[f"ours {truth}"], count[truth]), theirs]
  return f"| {' | '.join([*cells, str(count['unjudged'])])} |"


def left_out(file: Path) -> dict[str, str]:
  """Returns the pairs left out, digest -> reason."""
  return {row["pair"]: row["reason"] for _, row in json_rows(file)}


def write_disagreements(file: Path, pairs: Sequence[Pair], replies: Sequence[Reply], skipped: dict[str, str]) -> int:
  """Writes every row on which we, Math-Verify and the truth are not of one mind. Returns their number."""
  written = 0
  with replaced(file) as lines:
    for pair, reply in zip(pairs, replies, strict=True):
      if (reply.correct == 1) == pair.right and reply.correct is not None and pair.math_verify in (None, pair.right):
        continue
      row = dataclasses.asdict(pair) | {"ours": reply.correct, "reason": reply.reason}
      if pair.digest in skipped:
        row["left_out"] = skipped[pair.digest]
      lines.write(json.dumps(row, ensure_ascii=True) + "\n")
      written += 1
  return written


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--input", type=Path, required=True, help="JSON Lines file of answers with their truth.")
  parser.add_argument("--out", type=Path, default=Path("runs/verdicts.jsonl"), help="File for the disagreements.")
  parser.add_argument("--workers", type=int, default=2, help="Number of worker processes.")
  parser.add_argument("--timeout-s", type=float, default=4.0, help="Seconds that one answer may take.")
  options = parser.parse_args(args)
  check_positive(options, "workers")
  pairs, skipped = read_pairs(options.input), left_out(LEFT_OUT)
  replies, seconds = judge(pairs, options.workers, options.timeout_s)
  kept = [index for index, pair in enumerate(pairs) if pair.digest not in skipped]
  print("\n".join(table([pairs[index] for index in kept], [replies[index] for index in kept])))
  options.out.parent.mkdir(parents=True, exist_ok=True)
  written = write_disagreements(options.out, pairs, replies, skipped)
  slowest = max((reply.time_s for reply in replies), default=0.0)
  print(f"\n{len(pairs) - len(kept)} pairs left out ({LEFT_OUT.name}). No question was given: the strict form rule.")
  print(
    f"{len(pairs)} verdicts in {seconds:.1f} s ({len(pairs) / max(seconds, 1e-9):,.0f}/s), slowest {slowest:.2f} s."
  )
  print(f"{written} disagreements in {options.out}")


if __name__ == "__main__":
  run_cli(main)
