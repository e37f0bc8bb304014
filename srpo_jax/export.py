"""Writes a run's policy as a Hugging Face folder: python -m srpo_jax.export --workdir DIR [--step N] --out DIR"""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp

from srpo_jax.checkpoint import Checkpoints
from srpo_jax.config import read_config
from srpo_jax.errors import ArgumentParser, InputError, run_cli
from srpo_jax.model import hf, qwen2


def load_policy(workdir: str | Path, step: int | None = None) -> tuple[qwen2.Params, qwen2.Qwen2Config, int]:
  """The parameters of a run's checkpoint (the last one where `step` is None), the model's shape and the step.

  Raises:
    InputError: not a run, or no such checkpoint.
  """
  workdir = Path(workdir)
  config = read_config(workdir / "config.json")
  model_config = hf.read_config(workdir / "model")
  if not (workdir / "checkpoints").is_dir():
    raise InputError(f"{workdir}: no checkpoints, expected the workdir of a run")
  checkpoints = Checkpoints(workdir)
  try:
    latest = checkpoints.latest()
    if latest is None:
      raise InputError(f"{checkpoints.folder}: no checkpoint yet")
    step = latest if step is None else step
    like = hf.param_shapes(model_config, jnp.dtype(config.model.param_dtype))
    return checkpoints.restore_params(step, like), model_config, step
  finally:
    checkpoints.close()


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--workdir", required=True, type=Path, help="of the run")
  parser.add_argument("--step", type=int, help="of the checkpoint; default the last")
  parser.add_argument("--out", required=True, type=Path, help="new folder to write")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the stored weights; default the base's")
  parser.add_argument("--max-shard-gb", type=float, default=5.0, help="above this size the weights are split")
  options = parser.parse_args(args)
  if not options.max_shard_gb > 0:
    raise InputError(f"--max-shard-gb: expected a positive number, got {options.max_shard_gb}")
  params, config, step = load_policy(options.workdir, options.step)
  hf.save_params(
    params,
    config,
    options.out,
    source=options.workdir / "model",
    dtype=options.dtype,
    max_shard_bytes=int(options.max_shard_gb * 1e9),
  )
  dtype = options.dtype or hf.stored_dtype(options.workdir / "model")
  if dtype != str(params["embed"].dtype):
    print(f"rounded from {params['embed'].dtype} to {dtype}, as the base is stored; --dtype float32 keeps every bit")
  print(f"wrote step {step} of {options.workdir} to {options.out}")


if __name__ == "__main__":
  run_cli(main)
