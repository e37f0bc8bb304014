"""Helpers that configure and launch toy runs and read their workdirs."""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq

from configs import tiny
from srpo_jax.config import make_config
from srpo_jax.training.export import load_policy
from srpo_jax.training.loop import train
from srpo_jax.training.run import Run
from srpo_jax.training.workdir import read_rows

STEPS = 4


def toy(checkpoint, **changes):
  """Returns a config of a few short steps. `section__field=value` arguments change its fields."""
  raw = tiny.get_config().to_dict()
  defaults = {
    "model__path": str(checkpoint),
    "data__train": "tests.helpers.plugins:problems",
    "data__limit": 7,
    "data__eval": "",
    "rollout__prompts": 3,
    "rollout__group": 4,
    "rollout__max_new_tokens": 12,
    "rollout__slots": 8,
    "rollout__backend": "inprocess",
    "reward__function": "tests.helpers.plugins:parity",
    "reward__workers": 1,
    "train__steps": STEPS,
    "train__micro_batch": 8,
    "train__length_bucket": 64,
    "eval__every": 0,
    "checkpoint__every": 2,
    "log__tensorboard": False,
    "log__progress": False,
  }
  for name, value in (defaults | changes).items():
    *sections, field = name.split("__")
    functools.reduce(dict.__getitem__, sections, raw)[field] = value
  return make_config(raw)


def launch(config, workdir):
  with Run(config, workdir) as run:
    train(run)
  return workdir


def metrics(workdir):
  return read_rows(workdir / "metrics.jsonl")


def timeless(rows):
  return [{k: v for k, v in row.items() if not k.startswith(("time/", "throughput/"))} for row in rows]


def rollouts(workdir, step):
  return pq.read_table(workdir / f"rollouts/step_{step:06d}.parquet").to_pylist()


def history(workdir, epoch):
  return pq.read_table(workdir / f"history/math/epoch_{epoch:03d}.parquet").to_pylist()


def assert_same_run(a: Path, b: Path):
  """Asserts that metrics (except times), rollouts, history and parameters of two runs are bit-equal."""
  assert timeless(metrics(a)) == timeless(metrics(b))
  for kind in ("rollouts", "history"):
    files = sorted(f.relative_to(a) for f in a.glob(f"{kind}/**/*.parquet"))
    assert files == sorted(f.relative_to(b) for f in b.glob(f"{kind}/**/*.parquet")) and files
    for file in files:
      assert pq.read_table(a / file).equals(pq.read_table(b / file)), file
  (params_a, _, step_a), (params_b, _, step_b) = load_policy(a), load_policy(b)
  assert step_a == step_b
  jax.tree.map(np.testing.assert_array_equal, params_a, params_b)


def write_config(path, config):
  """Writes a config file whose get_config returns `config`. Returns its path."""
  path.write_text(
    "from ml_collections import ConfigDict\n"
    f"def get_config():\n  return ConfigDict({dataclasses.asdict(config)!r}, convert_dict=True, type_safe=True)\n"
  )
  return path
