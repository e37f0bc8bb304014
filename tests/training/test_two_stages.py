"""Two stages on a small random model: the mix, kills during the ramp, and stage 2 in a separate workdir."""

import functools
import os
import pickle
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from configs.base import stage
from srpo_jax.training.run import Run
from srpo_jax.training.workdir import read_rows
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT
from tests.helpers.runs import assert_same_run, launch, metrics, rollouts, timeless, toy

BOTH = "tests.helpers.plugins:problems,tests.helpers.plugins:programs"
MATH = stage({"math": 1.0}, steps=3).to_dict()
MIXED = stage({"math": 0.5, "code": 0.5}, start={"math": 1.0}, ramp=4, max_new_tokens=9).to_dict()
two_stages = functools.partial(
  toy, data__train=BOTH, rollout__prompts=4, stages={"stage1": MATH, "stage2": MIXED}, train__steps=10
)


@pytest.fixture(scope="module")
def whole(talkative, tmp_path_factory):
  return launch(two_stages(talkative), tmp_path_factory.mktemp("two") / "whole")


def test_files_record_the_stages(whole):
  rows = metrics(whole)
  assert [row["stage"] for row in rows] == [1] * 3 + [2] * 7
  assert [row["batch/code_share"] for row in rows[:4]] == [0, 0, 0, 0] and rows[7]["batch/code_share"] == 0.5
  assert all(row["code/accuracy"] is None and row["code/pool_size"] == 7 for row in rows[:4])
  for row in rows:
    step_rows = rollouts(whole, row["step"])
    n_code = sum(r["domain"] == "code" for r in step_rows) / 4
    assert n_code == row["batch/code_share"] * len(step_rows) / 4
    assert abs(n_code - len(step_rows) / 4 * min(max(row["step"] - 3, 0) / 4, 1) / 2) < 1
    assert {r["stage"] for r in step_rows} == {row["stage"]}
  everything = [r for row in rows for r in rollouts(whole, row["step"])]
  longest = [max(r["n_tokens"] for r in everything if r["stage"] == number) for number in (1, 2)]
  assert longest == [12, 9]
  # The first epoch of each domain visits each of its 7 prompts once, however the batches were mixed.
  for domain, letter in (("math", "q"), ("code", "p")):
    seen = sorted((r["prompt_id"], r["sample"]) for r in everything if r["domain"] == domain and r["epoch"] == 0)
    assert seen == [(f"{letter}{i}", sample) for i in range(7) for sample in range(4)]
    table = pq.read_table(whole / f"history/{domain}/epoch_000.parquet").to_pylist()
    assert {r["prompt_id"] for r in table} == {f"{letter}{i}" for i in range(7)} and {r["n"] for r in table} == {4}


@pytest.mark.slow
def test_a_run_stopped_during_the_ramp_resumes_as_the_same_run(whole, talkative, tmp_path):
  for steps in (5, 6, 10):
    launch(two_stages(talkative, train__steps=steps), tmp_path / "r")
  assert_same_run(whole, tmp_path / "r")


@pytest.mark.slow
def test_a_run_killed_during_the_ramp_resumes_as_the_same_run(whole, talkative, tmp_path):
  """SIGKILL comes within step 5, the second step of stage 2 that has code."""
  program = (
    "import pickle, sys; from tests.helpers.runs import launch; from pathlib import Path\n"
    "from srpo_jax.utils.cache import enable_compilation_cache; enable_compilation_cache()\n"
    "launch(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))"
  )
  for kill_at in (85, 0):
    config = two_stages(talkative, reward__function="tests.helpers.plugins:parity_then_kill")
    (tmp_path / "config").write_bytes(pickle.dumps(config))
    command = [sys.executable, "-c", program, str(tmp_path / "config"), str(tmp_path / "k")]
    environment = os.environ | {"SRPO_TEST_KILL_AT": str(kill_at)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == (-9 if kill_at else 0), done.stderr
    if kill_at:
      assert 4 <= len(metrics(tmp_path / "k")) < 10
  assert_same_run(whole, tmp_path / "k")


@pytest.mark.slow
def test_stage_2_in_a_separate_workdir_is_the_same_run(whole, talkative, tmp_path):
  first = launch(two_stages(talkative, stages={"stage1": MATH}, train__steps=0), tmp_path / "stage1")
  assert len(metrics(first)) == 3
  stage_2 = functools.partial(two_stages, talkative, stages={"stage2": MIXED}, train__stage=2, train__steps=7)
  second = launch(stage_2(init_from=str(first)), tmp_path / "stage2")
  assert timeless(metrics(first)) + timeless(metrics(second)) == timeless(metrics(whole))
  for step in range(3, 10):
    assert rollouts(second, step) == rollouts(whole, step)


def test_a_prompt_retired_in_stage_1_stays_retired(talkative, tmp_path):
  solved = {"reward__function": "tests.helpers.plugins:first_is_solved", "rollout__max_new_tokens": 60}
  math = stage({"math": 1.0}, epochs=1).to_dict()
  first = launch(two_stages(talkative, stages={"stage1": math}, train__steps=0, **solved), tmp_path / "a")
  retired = {r["prompt_id"] for r in pq.read_table(first / "history/math/epoch_000.parquet").to_pylist()
             if not r["retained"]}  # fmt: skip
  assert retired
  for restore in (False, True):
    again = stage({"math": 1.0}, epochs=2, restore_retired=restore).to_dict()
    config = two_stages(talkative, init_from=str(first), stages={"stage2": again}, train__steps=0, **solved)
    second = launch(config, tmp_path / f"b{restore}")
    visited = {r["prompt_id"] for row in metrics(second) for r in rollouts(second, row["step"])}
    assert visited == {f"q{i}" for i in range(7)} - (set() if restore else retired)


def test_a_missing_or_foreign_stage_1_is_named(whole, talkative, tmp_path):
  with pytest.raises(InputError, match=r"config\.init_from: .*nowhere has no checkpoint"):
    Run(two_stages(talkative, init_from=str(tmp_path / "nowhere")), tmp_path / "w")
  assert not (tmp_path / "w").exists()
  with (
    pytest.raises(InputError, match=r"not the math rows that .*whole was trained on"),
    Run(two_stages(talkative, init_from=str(whole), data__limit=6), tmp_path / "v") as run,
  ):
    run.start()


def test_each_held_out_set_has_its_rows_and_each_stage_ends_with_an_evaluation(talkative, tmp_path):
  workdir = launch(two_stages(talkative, data__eval=BOTH, data__eval_limit=3, eval__every=100), tmp_path / "e")
  rows = read_rows(workdir / "eval.jsonl")
  assert [(row["step"], row["set"]) for row in rows] == [(s, n) for s in (0, 3, 10) for n in ("problems", "programs")]
  twice = "tests.helpers.plugins:problems,tests.helpers.plugins:problems"
  with pytest.raises(InputError, match=r"config\.data\.eval: .*two sets of one name"):
    Run(two_stages(talkative, data__eval=twice, eval__every=1), tmp_path / "f")


def test_an_id_in_two_train_sets_is_named(talkative, tmp_path):
  with pytest.raises(InputError, match=r"id 'q0' is also in tests"):
    Run(
      two_stages(talkative, data__train="tests.helpers.plugins:problems,tests.helpers.plugins:problems"), tmp_path / "x"
    )
