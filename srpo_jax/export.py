"""Writes a run's policy as a Hugging Face folder: python -m srpo_jax.export --workdir DIR [--step N] --out DIR

Needs no accelerator, and less memory than the model: a tensor is read, cast and written at a time. The run may be on
gs://. OUT appears when it is whole; an export that is killed leaves a hidden folder beside it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from srpo_jax.config import read_config
from srpo_jax.model import hf, hf_export, qwen2
from srpo_jax.model.stored_params import StoredParams
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.utils.errors import ArgumentParser, InputError, run_cli
from srpo_jax.utils.paths import as_path, local_copy


def open_checkpoint(workdir: Path, step: int | None) -> tuple[Checkpoints, int, qwen2.Qwen2Config, qwen2.Params]:
  """A run's checkpoints, the step (the last one where `step` is None), the model's shape and its parameters' shapes.

  Raises:
    InputError: not a run, or no such checkpoint.
  """
  config = read_config(workdir / "config.json")
  model_config = hf.read_config(local_copy(str(workdir / "model")))
  checkpoints = Checkpoints.of_run(workdir)
  try:
    step = checkpoints.find(step)
  except InputError:
    checkpoints.close()
    raise
  return checkpoints, step, model_config, hf.param_shapes(model_config, jnp.dtype(config.model.param_dtype))


def load_policy(workdir: str | Path, step: int | None = None) -> tuple[qwen2.Params, qwen2.Qwen2Config, int]:
  """The parameters of a run's checkpoint, in this process's memory, the model's shape and the step.

  Raises:
    InputError: not a run, or no such checkpoint.
  """
  checkpoints, step, model_config, like = open_checkpoint(as_path(workdir), step)
  with checkpoints:
    return checkpoints.restore_params(step, like), model_config, step


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--workdir", required=True, type=as_path, help="of the run; may be gs://")
  parser.add_argument("--step", type=int, help="of the checkpoint; default the last")
  parser.add_argument("--out", required=True, help="new folder to write")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the stored weights; default the base's")
  parser.add_argument(
    "--max-shard-gb", type=float, help="above this size the weights are split; default as the base was, or 5"
  )
  options = parser.parse_args(args)
  if options.max_shard_gb is not None and not 0 < options.max_shard_gb < 1e9:
    raise InputError(f"--max-shard-gb: expected a positive number, got {options.max_shard_gb}")
  if "://" in options.out:
    raise InputError(f"--out: {options.out}: expected a local folder (then: gcloud storage cp -r FOLDER gs://...)")
  jax.config.update("jax_platforms", "cpu")  # a training on this host's accelerator is left alone
  checkpoints, step, config, like = open_checkpoint(options.workdir, options.step)
  with checkpoints:
    stored = StoredParams(checkpoints.folder / str(step) / "params", like)
  source = local_copy(str(options.workdir / "model"))
  hf_export.save_weights(
    stored.read,
    config,
    options.out,
    source=source,
    dtype=options.dtype,
    max_shard_bytes=options.max_shard_gb and int(options.max_shard_gb * 1e9),
  )
  kept, dtype = str(like["embed"].dtype), options.dtype or hf.stored_dtype(source)
  if dtype != kept:
    print(f"rounded from {kept} to {dtype}, as the base is stored; --dtype float32 keeps every bit")
  size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
  print(f"read {stored.bytes_read:,} bytes of the checkpoint, for {size:,} bytes of parameters")
  print(f"wrote step {step} of {options.workdir} to {options.out}")


if __name__ == "__main__":
  run_cli(main)
