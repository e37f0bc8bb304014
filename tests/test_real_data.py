"""Two epochs on real GSM8K questions, with a short last batch or with a pool smaller than a batch."""

import pyarrow.parquet as pq
import pytest

from srpo_jax.data.dataset import load_problems
from tests.helpers.runs import launch, metrics, rollouts, toy


@pytest.mark.parametrize("limit", [pytest.param(7, marks=pytest.mark.slow), 2])
def test_two_epochs_of_gsm8k(talkative, data_dir, tmp_path, limit):
  train = str(data_dir / "gsm8k_train.jsonl")
  changes = {"data__train": train, "data__limit": limit, "train__steps": 0, "train__epochs": 2, "reward__function": ""}
  workdir = launch(toy(talkative, **changes), tmp_path / "g")
  problems = {p.id: p for p in load_problems(train, limit=limit)}
  assert next(iter(problems)) == "gsm8k_train-000000" and problems["gsm8k_train-000000"].answer == "72"
  sizes = [len(rollouts(workdir, row["step"])) // 4 for row in metrics(workdir)]
  assert sizes == ([3, 3, 1] * 2 if limit == 7 else [2, 2])
  for row in rollouts(workdir, 0):
    assert problems[row["prompt_id"]].question in row["prompt"] and row["prompt"].endswith("Assistant: <think>")
  for epoch in (0, 1):
    entries = pq.read_table(workdir / f"history/math/epoch_{epoch:03d}.parquet").to_pylist()
    assert {e["prompt_id"] for e in entries} == set(problems) and all(e["n"] == 4 for e in entries)
