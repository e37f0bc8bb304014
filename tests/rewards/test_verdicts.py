"""The benchmark of verdicts: its counts by hand, its side file, and the real answers if they are there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

DATA = Path(os.environ.get("SRPO_DATA", ROOT / ".." / "shared" / "data"))
PAIRS = DATA / "math_verdicts.jsonl"
GOLDS = DATA / "golds_unread.jsonl"

ROWS = [
  {"gold": "5", "answer": "5.0", "right": 1, "n": 7, "source": "model", "math_verify": 1},
  {"gold": "5", "answer": "2+3", "right": 1, "n": 2, "source": "model", "math_verify": 1},
  {"gold": "5", "answer": "6", "right": 0, "n": 3, "source": "model", "math_verify": 1},
  {"gold": r"\oint", "answer": "6", "right": 0, "source": "suite/x", "math_verify": 0},
]


def run(file: Path, out: Path) -> "subprocess.CompletedProcess[str]":
  command = [sys.executable, "benchmarks/verdicts.py", f"--input={file}", f"--out={out}", "--workers=1"]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def cells(table: str, name: str) -> list[str]:
  (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
  return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_counts_are_weighted_and_disagreements_are_listed(tmp_path: Path) -> None:
  file = tmp_path / "in.jsonl"
  file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
  done = run(file, tmp_path / "out.jsonl")
  assert cells(done.stdout, "model") == ["9", "2 (22.22%)", "0 (0.00%)", "3", "0 (0.00%)", "3 (100.00%)", "0"]
  assert cells(done.stdout, "suite/x") == ["0", "0", "0", "1", "0 (0.00%)", "0 (0.00%)", "1"]
  listed = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
  assert [(row["answer"], row["ours"], row["reason"]) for row in listed[:2]] == [
    ("2+3", 0, "not evaluated: sum"),
    ("6", 0, "different value"),
  ]
  assert listed[2]["ours"] is None


def test_a_bad_row_is_named(tmp_path: Path) -> None:
  file = tmp_path / "in.jsonl"
  file.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({"gold": "5", "answer": 5, "right": 1}) + "\n")
  done = run(file, tmp_path / "out.jsonl")
  assert done.returncode == 2
  assert done.stderr.strip() == f"error: {file}:2: field answer: expected text, found 5"


@pytest.mark.skipif(not PAIRS.exists(), reason=f"needs {PAIRS.name} in SRPO_DATA")
def test_real_answers(tmp_path: Path) -> None:
  table = run(PAIRS, tmp_path / "out.jsonl").stdout
  right, refused, _, _, accepted, _, unjudged = cells(table, "**all answers of models**")
  assert int(refused.split()[0]) <= 0.0025 * int(right)
  assert (accepted, int(unjudged)) == ("0 (0.00%)", pytest.approx(0, abs=10))
  _, refused, _, _, accepted, _, _ = cells(table, "**all suites**")
  assert int(refused.split()[0]) + int(accepted.split()[0]) <= 12
  assert int(re.search(r"(\d+) pairs left out", table)[1]) <= 26  # type: ignore[index]


@pytest.mark.skipif(not GOLDS.exists(), reason=f"needs {GOLDS.name} in SRPO_DATA")
def test_most_kinds_of_real_golds_are_read_as_values() -> None:
  from srpo_jax.rewards.answers.read import read_gold
  from srpo_jax.rewards.answers.value import Words, flaw, parts

  rows = [json.loads(line) for line in GOLDS.read_text().splitlines()]
  values = {row["gold"]: read_gold(row["gold"], 2048) for row in rows}
  kept = [gold for gold, value in values.items() if all(isinstance(part, Words) for part in parts(value))]
  read = [row for row in rows if not flaw(values[row["gold"]]) and row["gold"] not in kept]
  assert len(read) >= 0.45 * len(rows)
  assert [row["gold"] for row in rows if row["set"].startswith("MATH") and flaw(values[row["gold"]])] == []
