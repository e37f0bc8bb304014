"""A run goes on whatever its policy and the programs of its policy write, and so do the commands that read the run."""

import json

import pyarrow.parquet as pq
import pytest

from srpo_jax import evaluate, replay, report
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.rollout import collector
from tests.helpers.odd_text import ODD, PROGRAMS, answered, fake_sampler, is_clean
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, metrics, rollouts, toy, write_config

TEXTS = [*map(answered, PROGRAMS.values()), "\x00\x1b[2J\ufffd raw \u202e text", "</think> <answer>\x00</answer>"]
CODE = {"data__train": "tests.helpers.plugins:programs", "data__limit": 2, "reward__function": "", "train__steps": 2}


@pytest.fixture
def hostile(checkpoint, monkeypatch):
  """Makes every policy answer with TEXTS."""
  monkeypatch.chdir(ROOT)
  tokenizer = load_tokenizer(checkpoint)
  monkeypatch.setattr(collector, "sample_groups", fake_sampler(tokenizer, TEXTS))
  return tokenizer


def code_run(checkpoint, folder):
  sizes = {"rollout__prompts": 1, "rollout__group": len(TEXTS), "train__length_bucket": 256}
  return launch(toy(checkpoint, **CODE | sizes), folder)


def test_a_launch_replay_and_report_survive_odd_programs(hostile, checkpoint, tmp_path, capsys):
  workdir = code_run(checkpoint, tmp_path / "run")
  assert [row["step"] for row in metrics(workdir)] == [0, 1]
  rows = rollouts(workdir, 0)
  assert [row["response"] for row in rows] == TEXTS, "parquet keeps NUL and escapes"
  assert all(is_clean(row["reason"]) for row in rows), [row["reason"] for row in rows]
  assert [row["correct"] for row in rows] == [int(name == "plain") for name in PROGRAMS] + [0, 0]
  assert "0 of 1 tests: \\ud800" in rows[0]["reason"] and "\\x1b[2J" in rows[3]["reason"]
  capsys.readouterr()
  replay.main([f"--workdir={workdir}", "--step=1", "--no-loss"])
  shown = capsys.readouterr()
  assert "as recorded" in shown.out and is_clean((shown.out + shown.err).replace("\n", ""), 100_000)
  report.main([f"--workdir={workdir}"])
  page = (workdir / "report.html").read_text(encoding="utf-8")
  assert is_clean(page.replace("\n", ""), 10_000_000) and json.dumps(TEXTS[-2]) in page


def test_an_evaluation_survives_odd_programs(hostile, checkpoint, tmp_path, capsys):
  rows = [
    {"id": "a\x1b[2J", "domain": "code", "question": "Write f.", "difficulty": "\x1b[31mred",
     "tests": {"type": "assert", "cases": ["assert f(1) == 2"]}},
    {"id": "b", "domain": "code", "question": "Write f again.", "difficulty": "easy",
     "tests": {"type": "assert", "cases": ["assert f(1) == 2"]}},
  ]  # fmt: skip
  (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  config = write_config(tmp_path / "config.py", toy(checkpoint, reward__function=""))
  evaluate.main(
    [f"--model={checkpoint}", f"--config={config}", f"--sets={tmp_path}/set.jsonl", f"--out={tmp_path}/out",
     f"--samples={len(TEXTS)}", "--max-new-tokens=12"]
  )  # fmt: skip
  found = pq.read_table(tmp_path / "out/samples/set.parquet").to_pylist()
  assert [row["response"] for row in found] == 2 * TEXTS and all(is_clean(row["reason"]) for row in found)
  shown = capsys.readouterr()
  assert "\\x1b[31mred" in shown.out and "\x1b" not in shown.out + shown.err


def test_json_answers_with_surrogates_are_judged_and_kept(checkpoint, tmp_path, monkeypatch):
  """The response is ASCII, and its answer is not Unicode text."""
  monkeypatch.chdir(ROOT)
  texts = [
    f' So. </think> <answer>{{"answer": {json.dumps(text[:100])}}}</answer>' for text in (*ODD.values(), "2", "5")
  ]
  monkeypatch.setattr(collector, "sample_groups", fake_sampler(load_tokenizer(checkpoint), texts))
  rows = [{"domain": "math", "question": "What is 1 + 1?", "answer": "2"}]
  (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  instructions = {"prompt__instructions": {"math": 'Answer in JSON, as {"answer": "..."}.', "code": "Write code."}}
  config = toy(checkpoint, reward__function="", reward__validator="json", **instructions)
  file = write_config(tmp_path / "config.py", config)
  evaluate.main(
    [f"--model={checkpoint}", f"--config={file}", f"--sets={tmp_path}/set.jsonl", f"--out={tmp_path}/out",
     f"--samples={len(texts)}", "--max-new-tokens=12"]
  )  # fmt: skip
  found = pq.read_table(tmp_path / "out/samples/set.parquet").to_pylist()
  assert [row["correct"] for row in found] == [0] * len(ODD) + [1, 0]
  assert found[0]["answer"] == "\\ud800" and found[2]["answer"] == "a\x00b"
  assert all(is_clean(row["reason"]) for row in found)
