"""Whole runs on a small random model: files, resuming, history resampling, evaluation and refusals."""

import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from srpo_jax.algorithm.advantages import group_advantages
from srpo_jax.analysis.reflection import Seen, reflect, reflection_rates
from srpo_jax.model.sampling import Purpose
from srpo_jax.training.export import load_policy
from srpo_jax.training.run import Run
from srpo_jax.training.workdir import read_rows
from srpo_jax.utils.errors import InputError, TrainingError
from tests.helpers.paths import ROOT
from tests.helpers.runs import STEPS, assert_same_run, history, launch, metrics, rollouts, toy


def test_packed_rows_train_as_padded_ones(finished_run, talkative, tmp_path):
  """The first step is the same, and updates are close enough that later steps sample the same tokens."""
  sizes = {"data__max_prompt_tokens": 1012, "train__pack_tokens": 1024, "train__micro_batch": 1}
  packed = launch(toy(talkative, **sizes), tmp_path / "packed")
  for got, expected in zip(metrics(packed), metrics(finished_run), strict=True):
    for name in ("reward/mean", "policy/loss", "policy/grad_norm", "policy/entropy", "policy/logprob_gap_max"):
      assert got[name] == pytest.approx(expected[name], rel=1e-3, abs=2e-6), (got["step"], name)
  with pytest.raises(InputError, match=r"config\.train\.pack_tokens: .*1024, got 1023"):
    toy(talkative, **sizes | {"train__pack_tokens": 1023})


def test_files_record_the_run(finished_run, talkative):
  rows = metrics(finished_run)
  assert [row["step"] for row in rows] == [0, 1, 2, 3]
  # 7 prompts in batches of 3: the third batch of epoch 0 is short.
  sizes = [len(rollouts(finished_run, s)) for s in range(STEPS)]
  assert sizes[:3] == [12, 12, 4] and rows[-1]["rollouts/spent"] == sum(sizes)
  assert [row["math/epoch"] for row in rows] == [0, 0, 0, 1]
  seen = [r for s in range(3) for r in rollouts(finished_run, s)]
  assert {(r["prompt_id"], r["sample"]) for r in seen} == {(f"q{i}", s) for i in range(7) for s in range(4)}
  for entry in history(finished_run, 0):
    prompt_rows = [r for r in seen if r["prompt_id"] == entry["prompt_id"]]
    correct = sum(r["correct"] for r in prompt_rows)
    assert (entry["n"], entry["n_correct"]) == (4, correct)
    assert entry["n_truncated"] == sum(r["truncated"] for r in prompt_rows)
    assert entry["retained"] == (correct < 4)
    assert entry["mean_reward"] == pytest.approx(np.mean([r["reward"] for r in prompt_rows]))
  assert rows[3]["math/pool_size"] == sum(entry["retained"] for entry in history(finished_run, 0))


def test_metrics_agree_with_the_rollouts(finished_run):
  for row in metrics(finished_run):
    got = rollouts(finished_run, row["step"])
    rewards = np.array([r["reward"] for r in got], np.float64).reshape(-1, 4)
    truncated = np.array([r["truncated"] for r in got]).reshape(-1, 4)
    expected = group_advantages(rewards, np.ones_like(truncated), truncated)
    np.testing.assert_allclose(np.array([r["advantage"] for r in got]).reshape(-1, 4), expected, atol=1e-5)
    assert row["reward/mean"] == pytest.approx(rewards.mean())
    assert row["reward/accuracy"] == pytest.approx(np.mean([r["correct"] for r in got]))
    assert row["response/length_mean"] == pytest.approx(np.mean([len(r["token_ids"]) for r in got]))
    assert row["response/truncated_frac"] == pytest.approx(truncated.mean())
    seen = [Seen(reflect(r["response"]), "math", r["n_tokens"], r["correct"] == 1) for r in got]
    assert {key: row[key] for key in row if key.startswith("reflection/")} == reflection_rates(seen)
    assert row["groups/zero_advantage_frac"] == pytest.approx((expected == 0).all(1).mean())
    assert 0 <= row["policy/logprob_gap"] <= row["policy/logprob_gap_p99"] <= row["policy/logprob_gap_max"] < 1e-3
    assert row["policy/clip_frac"] == 0 and row["policy/grad_norm"] > 0
    for r in got:
      assert len(r["token_ids"]) == len(r["sampler_logprobs"]) == r["n_tokens"]


def test_the_policy_moves(finished_run, talkative):
  params, config, step = load_policy(finished_run)
  assert step == STEPS
  from srpo_jax.model import hf

  base = hf.load_params(talkative, config)
  moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), params, base)
  assert all(0 < m < 0.01 for m in jax.tree.leaves(moved)), moved


def test_two_steps_then_two_more_are_four(finished_run, talkative, tmp_path):
  workdir = tmp_path / "b"
  launch(toy(talkative, train__steps=2), workdir)
  assert len(metrics(workdir)) == 2
  launch(toy(talkative), workdir)
  assert_same_run(finished_run, workdir)


def test_both_backends_train_alike(finished_run, talkative, tmp_path):
  assert_same_run(finished_run, launch(toy(talkative, rollout__backend="jetstream"), tmp_path / "j"))


@pytest.mark.parametrize(
  "kill_at",
  [pytest.param(3, marks=pytest.mark.slow), 34],
  ids=["before the first checkpoint", "between two checkpoints"],
)
def test_resume_after_sigkill(finished_run, talkative, tmp_path, kill_at):
  """The run is killed while scoring in step 0, or in step 3, after the checkpoint of step 2 and the end of epoch 0."""
  workdir, config_file = tmp_path / "k", tmp_path / "config.py"
  config_file.write_text(
    "from tests.helpers.runs import toy\nfrom ml_collections import ConfigDict\nimport dataclasses\n"
    f"def get_config():\n  return ConfigDict(dataclasses.asdict(toy({str(talkative)!r}, "
    "reward__function='tests.helpers.plugins:parity_then_kill')))\n"
  )
  command = [sys.executable, "-m", "srpo_jax.launch", f"--config={config_file}", f"--workdir={workdir}"]
  killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": str(kill_at)}, capture_output=True)
  assert killed.returncode == -9
  if kill_at > 3:
    assert len(metrics(workdir)) == 3  # the row of step 2 is newer than the checkpoint and must not appear twice
    with (workdir / "metrics.jsonl").open("a") as file:
      file.write('{"step": 3, "cut by the k')
  subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": "0"}, check=True, capture_output=True)
  assert_same_run(finished_run, workdir)


def test_finished_run_started_again_changes_nothing(finished_run, talkative):
  before = {f: f.read_bytes() for f in finished_run.rglob("*") if f.is_file() and f.suffix in (".jsonl", ".parquet")}
  launch(toy(talkative), finished_run)
  assert {f: f.read_bytes() for f in before} == before


def test_workdir_of_another_config_is_refused(finished_run, talkative, tmp_path):
  before = (finished_run / "config.json").read_bytes()
  with pytest.raises(InputError, match=r"rollout\.group \(4 there, 5 here\)"):
    Run(toy(talkative, rollout__group=5), finished_run)
  assert (finished_run / "config.json").read_bytes() == before
  (tmp_path / "someone's file").write_text("x")
  with pytest.raises(InputError, match="not the workdir of a run"):
    Run(toy(talkative), tmp_path)


def test_two_writers_are_refused(talkative, tmp_path):
  with Run(toy(talkative), tmp_path / "w"), pytest.raises(InputError, match="another process"):
    Run(toy(talkative), tmp_path / "w")


def test_a_kill_before_the_config_is_written_leaves_a_workdir_that_starts(talkative, tmp_path):
  (tmp_path / ".lock").touch()
  launch(toy(talkative, train__steps=1), tmp_path)
  assert len(metrics(tmp_path)) == 1


def test_resume_leaves_other_files_alone(talkative, tmp_path):
  launch(toy(talkative, train__steps=2), tmp_path / "r")
  for name in ("notes.txt", "notes.parquet"):
    (tmp_path / "r" / "rollouts" / name).write_text("mine")
  (tmp_path / "r" / "rollouts" / "step_000001.partial").write_text("cut by a kill")
  launch(toy(talkative, train__steps=3), tmp_path / "r")
  names = {f.name for f in (tmp_path / "r" / "rollouts").iterdir()}
  assert names == {"notes.txt", "notes.parquet", *(f"step_{s:06d}.parquet" for s in range(3))}


def test_another_base_under_the_same_path_is_refused(talkative, tmp_path):
  base = tmp_path / "base"
  shutil.copytree(talkative, base)
  launch(toy(base, train__steps=2), tmp_path / "r")
  kept = (tmp_path / "r" / "model" / "config.json").read_bytes()
  changed = json.loads((base / "config.json").read_text()) | {"rope_theta": 777.0}
  (base / "config.json").write_text(json.dumps(changed))
  with pytest.raises(InputError, match=r"config\.json: not the file that"):
    Run(toy(base, train__steps=3), tmp_path / "r")
  assert (tmp_path / "r" / "model" / "config.json").read_bytes() == kept


def test_divergence_stops_the_run_and_its_last_checkpoint_remains(talkative, tmp_path):
  with pytest.raises(TrainingError, match=r"step 1: .*diverged"):
    launch(toy(talkative, optimizer__learning_rate=1e30, checkpoint__every=1), tmp_path / "r")
  lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line, parse_constant=pytest.fail)["step"] for line in lines] == [0]
  assert load_policy(tmp_path / "r")[2] == 1


def test_a_domain_without_a_judge_is_refused_before_anything_is_written(talkative, tmp_path):
  file = tmp_path / "t.jsonl"
  file.write_text(json.dumps({"id": "x", "domain": "poetry", "question": "?", "answer": "1"}) + "\n")
  with pytest.raises(InputError, match="'poetry' has no judge"):
    Run(toy(talkative, data__train=str(file)), tmp_path / "w")
  assert not (tmp_path / "w").exists()


def test_other_rows_under_the_same_name_are_refused(talkative, tmp_path):
  file = tmp_path / "train.jsonl"
  rows = [{"id": f"q{i}", "domain": "math", "question": f"What is {i}?", "answer": str(i)} for i in range(7)]
  file.write_text("".join(json.dumps(r) + "\n" for r in rows))
  changes = {"data__train": str(file), "train__steps": 2}
  launch(toy(talkative, **changes), tmp_path / "r")
  file.write_text("".join(json.dumps(r | {"answer": "1"}) + "\n" for r in rows))
  with pytest.raises(InputError, match=r"train\.jsonl: not the math rows"):
    launch(toy(talkative, **changes), tmp_path / "r")


def test_several_updates_a_batch(talkative, tmp_path):
  workdir = launch(toy(talkative, loss__updates=3, train__steps=2, optimizer__learning_rate=0.05), tmp_path / "u")
  rows = metrics(workdir)
  assert all(row["policy/logprob_gap_max"] < 1e-3 for row in rows)  # measured on the policy before the first update
  assert any(row["policy/clip_frac"] > 0 for row in rows)  # later updates are off policy


def test_resampling_retires_solved_prompts_by_correctness(talkative, tmp_path, caplog):
  """Solved prompts leave after epoch 0 although their rewards vary. Unsolved prompts stay through epoch 1."""
  changes = {"reward__function": "tests.helpers.plugins:first_is_solved", "train__steps": 0, "train__epochs": 2}
  workdir = launch(toy(talkative, **changes, rollout__max_new_tokens=40), tmp_path / "s")
  truncated = {r["prompt_id"] for s in range(3) for r in rollouts(workdir, s) if r["truncated"]}
  retired = {e["prompt_id"] for e in history(workdir, 0) if not e["retained"]}
  assert retired == {"q0", "q2", "q4", "q6"} - truncated and retired
  visited = {r["prompt_id"] for s in range(3, len(metrics(workdir))) for r in rollouts(workdir, s)}
  assert visited == {f"q{i}" for i in range(7)} - retired
  kept = launch(toy(talkative, **changes, history__mode="none", rollout__max_new_tokens=40), tmp_path / "n")
  assert all(e["retained"] for e in history(kept, 0)) and len(history(kept, 1)) == 7


def test_empty_pool_ends_training_with_a_message(talkative, tmp_path, caplog):
  changes = {
    "reward__function": "tests.helpers.plugins:always_right",
    "rollout__max_new_tokens": 60,
    "train__steps": 50,
  }
  workdir = launch(toy(talkative, **changes, model__build_args={}), tmp_path / "e")
  rows = metrics(workdir)
  if any(r["truncated"] for s in range(3) for r in rollouts(workdir, s)):
    pytest.fail("the length limit is too short for this test")
  assert len(rows) == 3 and "pool is empty" in caplog.text
  assert all(row["groups/zero_advantage_frac"] == 1 and row["groups/all_correct_frac"] == 1 for row in rows)


def test_nothing_judged_means_no_update_and_nothing_retired(talkative, tmp_path, caplog):
  changes = {"reward__function": "tests.helpers.plugins:nothing_judged", "train__steps": 3}
  workdir = launch(toy(talkative, **changes), tmp_path / "u")
  assert "no token in the loss, no update" in caplog.text
  for row in metrics(workdir):
    assert row["reward/unjudged_frac"] == 1 and row["policy/loss"] is None and row["reward/mean"] is None
  assert all(e["retained"] and e["n_unjudged"] == 4 and e["mean_reward"] is None for e in history(workdir, 0))
  assert all(r["correct"] is None and r["reward"] is None for r in rollouts(workdir, 0))
  params, config, _ = load_policy(workdir)
  from srpo_jax.model import hf

  jax.tree.map(np.testing.assert_array_equal, params, hf.load_params(talkative, config))


def test_dynamic_sampling_fills_the_batch_with_mixed_groups(talkative, tmp_path):
  changes = {"history__dynamic_sampling": True, "data__limit": 0, "train__steps": 2, "rollout__group": 2}
  workdir = launch(toy(talkative, **changes), tmp_path / "d")
  spent = 0
  for row in metrics(workdir):
    groups = np.array([r["correct"] for r in rollouts(workdir, row["step"])]).reshape(-1, 2).sum(1)
    advantages = np.array([r["advantage"] for r in rollouts(workdir, row["step"])]).reshape(-1, 2)
    mixed = groups == 1
    assert mixed.sum() == 3 and mixed[-1]  # sampling stops at the third mixed group
    assert not advantages[~mixed].any()
    spent += 2 * len(groups)
    assert row["rollouts/spent"] == spent
  assert spent > 2 * 3 * 2


def test_a_pool_smaller_than_the_batch(talkative, tmp_path):
  workdir = launch(toy(talkative, data__limit=2, train__steps=2), tmp_path / "p")
  assert len(rollouts(workdir, 0)) == 8
  assert metrics(workdir)[1]["math/epoch"] == 1


def test_evaluation_uses_its_own_random_keys(finished_run, talkative, tmp_path):
  """Evaluation leaves metrics, rollouts, history and parameters of training equal bit for bit."""
  changes = {
    "data__eval": "tests.helpers.plugins:problems",
    "data__eval_limit": 9,
    "eval__every": 2,
    "eval__samples": 2,
  }
  workdir = launch(toy(talkative, **changes), tmp_path / "v")
  assert_same_run(workdir, finished_run)
  rows = read_rows(workdir / "eval.jsonl")
  assert [row["step"] for row in rows] == [0, 2, 4]
  assert all(row["n"] == 9 and row["set"] == "problems" and 0 <= row["pass@1"] <= 1 for row in rows)


def test_longer_held_out_prompts_change_nothing_either(finished_run, talkative, tmp_path):
  """Longer prompts need larger caches. Sums over those would be taken in another order."""
  changes = {"data__eval": "tests.helpers.plugins:long_problems", "eval__every": 2, "eval__samples": 2}
  workdir = launch(toy(talkative, **changes), tmp_path / "v")
  assert_same_run(workdir, finished_run)
  assert [row["step"] for row in read_rows(workdir / "eval.jsonl")] == [0, 2, 4]


def test_training_and_evaluation_draw_different_samples(talkative, tmp_path):
  with Run(toy(talkative), tmp_path / "p") as run:
    state, *_ = run.start()
    ask = {"step": 0, "samples": 4, "temperature": 1.0, "max_new_tokens": 12}
    train_, eval_ = (
      run.parts.sampler.collect(state.params, [run.parts.prompts[q] for q in ("q0", "q1")], purpose=purpose, **ask)[0]
      for purpose in (Purpose.TRAIN, Purpose.EVAL)
    )
  for a, b in zip(train_, eval_, strict=True):
    assert [r.tokens.tolist() for r in a.rollouts] != [r.tokens.tolist() for r in b.rollouts]


def test_a_users_advantage(finished_run, talkative, tmp_path):
  changes = {"advantage__function": "tests.helpers.plugins:centred", "train__steps": 1, "rollout__max_new_tokens": 4}
  got = rollouts(launch(toy(talkative, **changes), tmp_path / "c"), 0)
  assert 0 < sum(r["truncated"] for r in got) < len(got)
  rewards = np.array([r["reward"] for r in got]).reshape(-1, 4)
  expected = rewards - rewards.mean(1, keepdims=True)
  expected[np.array([r["truncated"] for r in got]).reshape(-1, 4)] = 0
  np.testing.assert_allclose(np.array([r["advantage"] for r in got]).reshape(-1, 4), expected, atol=1e-6)


def test_a_users_advantage_of_another_shape_is_refused(talkative, tmp_path):
  with pytest.raises(InputError, match=r"advantage\.function: tests\.helpers\.plugins:flat returned \(12,\)"):
    launch(toy(talkative, advantage__function="tests.helpers.plugins:flat"), tmp_path / "f")


def test_retention_policy(talkative, tmp_path):
  changes = {"checkpoint__every": 1, "checkpoint__keep": 2, "checkpoint__keep_every": 3, "train__steps": 6}
  workdir = launch(toy(talkative, **changes), tmp_path / "k")
  assert sorted(int(f.name) for f in (workdir / "checkpoints").iterdir()) == [3, 5, 6]
