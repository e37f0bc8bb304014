"""A user-defined domain end to end: training, resampling, evaluation, report, replay, labelling and doctor."""

import json
import re

import pyarrow.parquet as pq
import pytest

from srpo_jax.cli.run_flags import parse_flags
from srpo_jax.config import make_config, read_config, to_json
from srpo_jax.data.labelling.label import main as label
from srpo_jax.doctor import main as doctor
from srpo_jax.evaluate import main as evaluate
from srpo_jax.launch import main as launch_main
from srpo_jax.report import main as report
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.training.replay import replay
from srpo_jax.training.workdir import read_rows
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.utils.errors import InputError
from tests.helpers.documents import examples, install_examples
from tests.helpers.judge_plugins import puzzles
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, metrics, rollouts, toy, write_config

JUDGES = "puzzle=tests.helpers.judge_plugins:parity"


def puzzle_config(talkative, file, **changes):
  defaults = {
    "data__train": str(file),
    "data__eval": str(file),
    "data__eval_limit": 2,
    "eval__every": 3,
    "reward__function": "",
    "reward__judges": JUDGES,
    "prompt__puzzle": "Think.",
    "train__steps": 3,
  }
  return toy(talkative, **defaults | changes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  path = tmp_path_factory.mktemp("data") / "puzzle.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in puzzles()))
  return path


@pytest.fixture(scope="module")
def done(talkative, file, tmp_path_factory):
  return launch(puzzle_config(talkative, file), tmp_path_factory.mktemp("run") / "own")


def test_it_is_trained_and_resampled(done):
  rows = metrics(done)
  assert [row["puzzle/epoch"] for row in rows] == [0, 0, 1]
  kept = {r["prompt_id"]: r for r in pq.read_table(done / "history/puzzle/epoch_000.parquet").to_pylist()}
  assert set(kept) == {f"z{i}" for i in range(5)} and rows[2]["puzzle/pool_size"] == sum(
    r["retained"] for r in kept.values()
  )
  everything = [r for row in rows for r in rollouts(done, row["step"])]
  for r in everything:
    assert (r["domain"], r["prompt"].count("Think. User: Solve")) == ("puzzle", 1)
    if r["truncated"]:
      assert (r["correct"], r["reason"], r["pass_fraction"]) == (0, "truncated", None)
    else:  # the judge got the extra field of this row
      assert (r["reason"], r["pass_fraction"]) == (f"number {r['prompt_id'][1:]}", 0.25)
  ended = [r for r in everything if not r["truncated"]]
  assert {r["correct"] for r in ended} == {0, 1} and all(r["correct"] for r in ended if r["prompt_id"] == "z0")
  for row in rows:
    step_rows = rollouts(done, row["step"])
    assert row["puzzle/accuracy"] == pytest.approx(sum(r["correct"] for r in step_rows) / len(step_rows))
  (first, *_) = read_rows(done / "eval.jsonl")
  assert first["set"] == "puzzle" and set(first["by"]) == {"puzzle"}


def test_it_is_replayed_and_reported(done):
  assert all(check.agrees for check in replay(done, 2).checks)
  report([f"--workdir={done}"])
  assert "puzzle" in (done / "report.html").read_text()


def test_rows_with_another_extra_field_are_refused(done, talkative, file, tmp_path):
  """The data file changes between training and resuming."""
  text = file.read_text()
  try:
    file.write_text(text.replace('{"of": [2]}', '{"of": [3]}'))
    with pytest.raises(InputError, match=r"not the puzzle rows that .* was trained on"):
      launch(puzzle_config(talkative, file, train__steps=4), done)
  finally:
    file.write_text(text)


def test_it_is_evaluated(done, file, tmp_path):
  small = ["--samples=2", "--max-new-tokens=12", "--config.log.progress=False"]
  evaluate([f"--workdir={done}", f"--sets={file}", f"--out={tmp_path / 'out'}", *small])
  found = json.loads((tmp_path / "out/results.json").read_text())["sets"]["puzzle"]
  samples = pq.read_table(tmp_path / "out/samples/puzzle.parquet").to_pylist()
  assert len(samples) == 10 and found["n"] == 5
  assert {r["reason"] for r in samples} <= {"truncated", *(f"number {i}" for i in range(5))}
  assert json.loads((tmp_path / "out/settings.json").read_text())["config.reward.judges"] == JUDGES


def test_it_is_labelled(talkative, file, tmp_path):
  config = write_config(tmp_path / "c.py", puzzle_config(talkative, file))
  label([f"--config={config}", f"--model={talkative}", f"--input={file}", f"--out={tmp_path / 'o.jsonl'}",
         "--samples=2"])  # fmt: skip
  rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
  for row, before in zip(rows, puzzles(), strict=True):
    assert before.items() <= row.items() and row["rollouts"]["n"] == 2 and "extra" not in row


def test_the_doctor_checks_it(talkative, file, tmp_path, capsys):
  config = write_config(tmp_path / "c.py", puzzle_config(talkative, file, rollout__max_new_tokens=64))
  doctor([f"--config={config}", f"--workdir={tmp_path / 'run'}"])
  printed = capsys.readouterr().out
  assert "pass  rows" in printed and " 0 fail" in printed


def test_a_fault_of_the_judge_ends_training(talkative, file, tmp_path):
  config = puzzle_config(
    talkative, file, reward__judges="puzzle=tests.helpers.judge_plugins:obedient", eval__every=0, data__eval=""
  )
  with pytest.raises(
    InputError, match=r"reward judge puzzle=tests\.helpers\.judge_plugins:obedient failed on z.*KeyError: 'do'"
  ):
    launch(config, tmp_path / "run")


def test_a_domain_without_a_judge_is_refused(talkative, file, tmp_path):
  changes = {"reward__judges": "maze=tests.helpers.judge_plugins:told", "prompt__math": "x"}
  config = toy(talkative, data__train=str(file), **changes)
  with pytest.raises(InputError, match="domain 'puzzle' has no judge, expected one of: math, code, maze"):
    launch(config, tmp_path / "run")


def flags(*more):
  return parse_flags([f"--config={ROOT / 'configs/tiny.py'}", *more])[0]


def test_the_command_line_names_judges_and_instructions(tmp_path):
  config = flags(f"--config.reward.judges={JUDGES}", "--config.prompt.puzzle=Be=brief.", "--config.prompt.math=Box.")
  assert (config.prompt.instructions["puzzle"], config.prompt.instructions["math"]) == ("Be=brief.", "Box.")
  assert config.reward.judges == JUDGES
  assert "puzzle" not in flags(f"--config.reward.judges={JUDGES}").prompt.instructions
  with pytest.raises(InputError, match=r"config\.prompt\.puzle: unknown field, expected one of math, code, puzzle"):
    flags(f"--config.reward.judges={JUDGES}", "--config.prompt.puzle=x")
  with pytest.raises(InputError, match=r"config\.reward\.judges: 'puzzle': expected DOMAIN=module:function"):
    flags("--config.reward.judges=puzzle")
  (tmp_path / "config.json").write_text(to_json(make_config(json.loads(to_json(config)))))
  assert read_config(tmp_path / "config.json", ["--config.prompt.puzzle=New."]).prompt.instructions["puzzle"] == "New."


@pytest.fixture
def example(tmp_path, monkeypatch):
  """Folder with the judge of docs/extending.md as an importable module, and its example row as a file."""
  text = (ROOT / "docs/extending.md").read_text()
  assert examples()["my_judge.py"].count("\n") < 20
  install_examples(tmp_path, monkeypatch)
  (tmp_path / "puzzles.jsonl").write_text(re.search(r'^    (\{"id".*\})$', text, re.MULTILINE)[1] + "\n")
  return tmp_path


def test_the_example_judges(example):
  row = json.loads((example / "puzzles.jsonl").read_text())
  problem = Problem(row["id"], row["domain"], row["question"], extra={k: row[k] for k in ("numbers", "target")})
  answers = {"4*5+4": 1, "4*(5)+ 4": 1, "24": 0, "4*5+5": 0, "4 5": 0, "__import__('os')": 0, "4(5)": 0, "9**9999": 0}
  with Scorer(workers=1, judges={"puzzle": "my_judge:judge"}) as scorer:
    for answer in answers:
      response = f"I try.</think><answer>{answer}</answer>"
      scorer.submit(ScoreRequest(answer, problem.question, response, True, "puzzle", problem=problem))
    scorer.submit(ScoreRequest("none", problem.question, "24", True, "puzzle", problem=problem))
    found = scorer.collect()
  assert {name: v.correct for name, v in found.items()} == answers | {"none": 0}
  assert found["4*5+4"].reason == "4*5+4 = 24" and found["none"].reason == "not a sum"


def test_the_example_trains_by_the_command_line(example, talkative):
  small = {"rollout.prompts": 1, "rollout.group": 4, "rollout.slots": 4, "rollout.max_new_tokens": 8}
  small |= {"train.steps": 1, "train.micro_batch": 4, "rollout.backend": "inprocess", "reward.workers": 1}
  domain_flags = {"data.train": example / "puzzles.jsonl", "data.eval": "", "reward.judges": "puzzle=my_judge:judge"}
  given = {"model.path": talkative, "prompt.puzzle": "Write one sum."} | domain_flags | small
  flags = [f"--config.{name}={value}" for name, value in given.items()]
  launch_main([f"--config={ROOT / 'configs/tiny.py'}", f"--workdir={example / 'run'}", *flags])
  assert {r["domain"] for r in rollouts(example / "run", 0)} == {"puzzle"}
