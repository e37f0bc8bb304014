"""The demo learns, at its shipped size, in a third of its steps; and the same command line runs on real questions."""

import subprocess
import sys

import pytest

from srpo_jax.workdir import read_rows
from tests.conftest import ROOT


def launch(workdir, *args):
  command = [sys.executable, "-m", "srpo_jax.launch", "--config=configs/tiny.py", f"--workdir={workdir}"]
  done = subprocess.run([*command, *args], cwd=ROOT, check=True, capture_output=True, text=True)
  return done.stdout, done.stderr


@pytest.mark.slow
def test_the_demo_learns(tmp_path):
  out, log = launch(tmp_path / "d", "--config.train.steps=60", "--config.data.limit=960")
  base, *_, trained = read_rows(tmp_path / "d" / "eval.jsonl")
  assert base["step"] == 0 and trained["step"] == 60 and base["n"] >= 512
  assert trained["pass@1"] >= base["pass@1"] + 0.25
  assert trained["pass@1"] > base["greedy"]
  assert "of 960 prompts" in log and "| pass@1, temperature 1 |" in out
  assert (tmp_path / "d" / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
def test_real_questions_on_the_same_command_line(tmp_path, data_dir):
  train = data_dir / "gsm8k_train.jsonl"
  args = [f"--config.data.train={train}", "--config.data.limit=40", "--config.train.epochs=2", "--config.eval.every=0"]
  launch(tmp_path / "g", *args)
  rows = read_rows(tmp_path / "g" / "metrics.jsonl")
  assert [row["math/epoch"] for row in rows] == [0, 0, 1, 1]
  assert rows[-1]["rollouts/spent"] == 16 * (40 + rows[-1]["math/pool_size"])
