"""Replaying a recorded step gives the same bits if nothing changed, and finds every kind of change."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srpo_jax.model import transformer
from srpo_jax.replay import main
from srpo_jax.training.export import load_policy
from srpo_jax.training.replay import Replayed, replay
from srpo_jax.training.workdir import ROLLOUT_SCHEMA
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT
from tests.helpers.processes import cpu_devices
from tests.helpers.runs import launch, toy

STEP = 3


@pytest.fixture(scope="module")
def done(talkative, tmp_path_factory) -> Path:
  """Workdir of a run of four steps with the checkpoints of steps 2 and 4."""
  return launch(toy(talkative, checkpoint__keep=2), tmp_path_factory.mktemp("replay") / "run")


@pytest.fixture
def copy(done, tmp_path) -> Path:
  shutil.copytree(done, tmp_path / "run")
  return tmp_path / "run"


def differing(workdir: Path, step: int = STEP, **kwargs) -> dict[str, int]:
  return {check.name: check.differing for check in replay(workdir, step, **kwargs).checks if not check.agrees}


def change(workdir: Path, row: int, file_step: int = STEP, **fields) -> None:
  file = workdir / f"rollouts/step_{file_step:06d}.parquet"
  rows = pq.read_table(file).to_pylist()
  rows[row] |= fields
  pq.write_table(pa.Table.from_pylist(rows, schema=ROLLOUT_SCHEMA), file)


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_replayed_step_is_bit_equal_to_the_recorded_one(done, step):
  """Step 0 starts from the base, step 1 repeats an update of the base, step 3 repeats an update of a checkpoint."""
  found = replay(done, step)
  assert {check.name for check in found.checks} >= {"text", "correct", "reward", "advantage", "policy/loss"}
  assert all(check.agrees and (check.largest == 0 or np.isnan(check.largest)) for check in found.checks)
  recorded = json.loads((done / "metrics.jsonl").read_text().splitlines()[step])
  policy = {name: value for name, value in recorded.items() if name.startswith("policy/")}
  assert found.metrics == policy and policy["policy/grad_norm"] > 0
  assert found.checks[0].compared == len(found.recorded.groups) * 4
  np.testing.assert_array_equal(found.recorded.advantages, found.advantages)


@pytest.mark.slow
def test_several_updates_and_unused_groups_are_replayed_too(talkative, tmp_path):
  changes = {"loss__updates": 2, "history__mode": "none", "history__dynamic_sampling": True}
  workdir = launch(toy(talkative, train__steps=2, checkpoint__every=1, checkpoint__keep=2, **changes), tmp_path / "run")
  id_ = pq.read_table(workdir / "rollouts/step_000001.parquet").column("prompt_id")[-1].as_py()
  found = replay(workdir, 1, moved=[id_])
  assert all(check.agrees for check in found.checks) and found.metrics["policy/logprob_gap"] is not None
  assert found.metrics == {
    name: value
    for name, value in json.loads((workdir / "metrics.jsonl").read_text().splitlines()[1]).items()
    if name.startswith("policy/")
  }
  assert_moved(workdir, found, id_, 1)


def assert_moved(workdir: Path, found: Replayed, id_: str, step: int) -> None:
  """Asserts that `found.moved` is the difference in log-probs between the checkpoints before and after the step.

  The expected values are computed for one response at a time.
  """
  (group,) = [g for g in found.recorded.groups if g.prompt.problem.id == id_]
  policies = [load_policy(workdir, step + after) for after in (0, 1)]
  largest = 0.0
  for rollout, moved in zip(group.rollouts, found.moved[id_], strict=True):
    tokens = np.concatenate([rollout.prompt_tokens, rollout.tokens])[None]
    first, ones = len(rollout.prompt_tokens), np.ones_like(tokens)
    of_policies = []
    for params, model, _ in policies:
      hidden = transformer.forward(params, model, tokens, np.arange(tokens.size)[None], ones, dtype=jnp.float32)
      logprobs = jax.nn.log_softmax(transformer.logits(transformer.gather_head(params), hidden))[0, first - 1 : -1]
      of_policies.append(np.asarray(logprobs)[np.arange(len(rollout.tokens)), rollout.tokens])
    np.testing.assert_allclose(moved, of_policies[1] - of_policies[0], atol=3e-6)
    largest = max(largest, np.abs(moved).max())
  assert largest > 1e-4 and set(found.moved) == {id_}


@pytest.mark.parametrize(
  ("fields", "names"),
  [
    ({"response": "another"}, {"text", "correct", "reward"}),
    ({"format": 1}, {"format"}),
    ({"language_mix": 1}, {"language_mix"}),
    ({"pass_fraction": 0.5}, {"pass_fraction"}),
    ({"reward": 0.75}, {"reward"}),
    ({"advantage": 3.0}, {"advantage"}),
  ],
)
def test_each_changed_field_is_found(copy, fields, names):
  row = next(i for i, r in enumerate(pq.read_table(copy / "rollouts/step_000003.parquet").to_pylist()) if r["correct"])
  change(copy, row, **fields)
  found = differing(copy, loss=False)
  assert names - {"correct", "reward"} <= set(found) and all(found[name] == 1 for name in names & set(found))
  assert {name for name in found if "/" not in name} <= names | {"advantage"}


@pytest.mark.parametrize("name", ["reward/mean", "response/length_mean", "groups/zero_advantage_frac"])
def test_a_changed_figure_is_found(copy, name):
  rows = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
  rows[STEP][name] += 1e-6
  (copy / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert differing(copy, loss=False) == {name: 1}


def test_a_run_that_continues_another_is_replayed_from_its_checkpoint(talkative, done, tmp_path):
  shutil.copytree(done, tmp_path / "first")
  config = toy(talkative, init_from=str(tmp_path / "first"), model__path="", train__steps=6, checkpoint__every=6)
  second = launch(config, tmp_path / "second")
  found = replay(second, 5)
  assert all(check.agrees for check in found.checks) and found.metrics["policy/grad_norm"] > 0
  shutil.rmtree(tmp_path / "first/checkpoints/4")
  with pytest.raises(InputError, match=r"first/checkpoints: no checkpoint of step 4, .*none of .*second is as early"):
    replay(second, 5)
  assert differing(second, 5, loss=False) == {}


def test_changed_tokens_and_advantages_change_the_loss(copy, done):
  rows = pq.read_table(copy / "rollouts/step_000003.parquet").to_pylist()
  row = next(i for i, r in enumerate(rows) if r["advantage"])
  change(copy, row, advantage=-rows[row]["advantage"])
  assert {"advantage", "policy/loss", "policy/grad_norm"} <= set(differing(copy))
  change(copy, row, advantage=rows[row]["advantage"], token_ids=[5, *rows[row]["token_ids"][1:]])
  found = differing(copy)
  assert {"text", "policy/grad_norm", "policy/logprob_gap_max"} <= set(found) and "advantage" not in found
  change(copy, row, file_step=2, advantage=-5.0)  # another update before step 3 gives another policy
  shutil.copy(done / "rollouts/step_000003.parquet", copy / "rollouts/step_000003.parquet")
  assert any(name.startswith("policy/") for name in differing(copy))


def test_the_command_reports_the_result_and_its_exit_status(copy, capsys):
  main([f"--workdir={copy}", f"--step={STEP}", "--no-loss"])
  printed = capsys.readouterr().out
  assert printed.endswith("step 3: as recorded\n") and "policy/" not in printed
  change(copy, 0, advantage=9.0)
  with pytest.raises(SystemExit) as ended:
    main([f"--workdir={copy}", f"--step={STEP}", "--no-loss"])
  printed = capsys.readouterr().out
  assert ended.value.code == 1 and printed.endswith("step 3: not as recorded: advantage\n")
  assert "/0: 9.0 recorded, " in printed


def test_without_weights_rewards_and_advantages_can_be_replayed(copy):
  shutil.rmtree(copy / "checkpoints")
  (copy / "checkpoints").mkdir()
  assert differing(copy, loss=False) == {}


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (["--workdir=/nowhere", "--step=0"], r"/nowhere/config\.json: no such file"),
    (["--workdir={run}", "--step=4"], r"metrics\.jsonl: no row of step 4"),
    (["--workdir={run}", "--step=3", "--bogus=1"], r"--bogus=1: unknown option"),
    (["--workdir={run}", "--step=3", "--config.mesh.bogus=1"], r"config\.mesh\.bogus: unknown field"),
    (["--workdir={run}", "--step=3", "--config.data.limit=1"], r"tests\.helpers\.plugins:problems: no row q\d"),
    (["--workdir={run}", "--step=3", "--config.prompt.math=x"], r"step_000003\.parquet: row 0: field prompt: not that"),
    (["--workdir={run}", "--step=3", "--config.rollout.group=5"], r"expected the rollouts of a step, 5 a prompt"),
  ],
)
def test_what_is_wrong_is_named(done, args, message):
  with pytest.raises(InputError, match=message):
    main([arg.format(run=done) for arg in args])


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"step": 2}, "field step: 2, expected 3"),
    ({"domain": "code"}, r"field domain: not that of q\d+ in tests\.helpers\.plugins:problems"),
    ({"prompt": "x"}, r"field prompt: not that of q\d+"),
    ({"n_tokens": 99}, "field n_tokens: 99, expected that many token_ids"),
    ({"token_ids": [1]}, r"field n_tokens: \d+, expected that many token_ids"),
    ({"sampler_logprobs": None}, "field n_tokens"),
    ({"token_ids": [10**6], "sampler_logprobs": [0.0], "n_tokens": 1}, r"field token_ids: expected 0 to \d+"),
    ({"advantage": None}, "advantage and sampler_logprobs"),
    ({"advantage": float("nan")}, "advantage and sampler_logprobs: expected finite numbers"),
  ],
)
def test_invalid_rollout_rows_are_named(copy, fields, message):
  change(copy, 1, **fields)
  with pytest.raises(InputError, match=rf"step_000003\.parquet: row 1: {message}"):
    replay(copy, 3, loss=False)


def test_missing_or_damaged_files_are_named(copy):
  (copy / "rollouts/step_000003.parquet").write_bytes(b"nonsense")
  with pytest.raises(InputError, match=r"step_000003\.parquet: cannot be read"):
    replay(copy, 3)
  (copy / "rollouts/step_000003.parquet").unlink()
  with pytest.raises(InputError, match=r"step_000003\.parquet: no such file; the recorded steps are 0 to 2"):
    replay(copy, 3)


@pytest.mark.slow  # 15 s
def test_a_step_of_one_device_is_replayed_on_a_mesh(done):
  env = cpu_devices(4)
  command = [sys.executable, "-m", "srpo_jax.replay", f"--workdir={done}", "--step=3"]
  mesh = ["--config.mesh.fsdp=2", "--config.mesh.tensor=2"]
  found = subprocess.run([*command, *mesh], cwd=ROOT, env=env, capture_output=True, text=True)
  assert found.returncode == 0 and found.stdout.endswith("step 3: as recorded\n"), found.stdout + found.stderr
