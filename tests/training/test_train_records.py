"""Training from a records folder reads by record index, needs no TensorFlow and equals training from JSON Lines."""

import json
import pickle
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from srpo_jax.data.records_writer import write_records
from tests.helpers.paths import ROOT
from tests.helpers.runs import history, launch, metrics, timeless, toy

LABELS = [0.0, 0.1, 1.0, 0.5, 0.9, 0.6, 0.0]
ROWS = [
  {"id": f"q{i}", "domain": "math", "question": f"What is {i} + {i}?", "answer": str(2 * i), "pass_rate": rate}
  for i, rate in enumerate(LABELS)
]


@pytest.mark.slow
def test_records_are_read_by_index_and_bring_no_tensorflow(talkative, tmp_path):
  write_records(tmp_path / "set", ROWS, name="sums", version="1.0.0", description="Sums.")
  (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
  chosen = {"data__keep": {"easy": 0.0, "solved": 0.0}, "data__limit": 0}
  config = toy(talkative, data__train=str(tmp_path / "set"), **chosen)
  (tmp_path / "config").write_bytes(pickle.dumps(config))
  program = (
    "import pickle, sys; from srpo_jax.training.run import Run; from srpo_jax.training.loop import train\n"
    "with Run(pickle.load(open(sys.argv[1], 'rb')), sys.argv[2]) as run: train(run)\n"
    "print([name for name in sys.modules if name.partition('.')[0] in ('tensorflow', 'seqio', 'jetstream')])"
  )
  command = [sys.executable, "-c", program, str(tmp_path / "config"), str(tmp_path / "a")]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr
  entries = pq.read_table(tmp_path / "a/history/math/epoch_000.parquet").to_pylist()
  assert {e["prompt_id"]: e["record"] for e in entries} == {f"q{i}": i for i in (0, 1, 3, 5, 6)}
  from_lines = launch(toy(talkative, data__train=str(tmp_path / "set.jsonl"), **chosen), tmp_path / "b")
  assert timeless(metrics(from_lines)) == timeless(metrics(tmp_path / "a"))
  assert len(metrics(from_lines)) == 4
  assert history(from_lines, 0) == history(tmp_path / "a", 0)
