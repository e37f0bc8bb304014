"""Policy of a run's checkpoint: its parameters in memory, or written as a Hugging Face folder."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp

from srpo_jax.config import read_config
from srpo_jax.model import hf, hf_export, transformer
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.stored_params import StoredParams
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, local_copy


@dataclasses.dataclass(frozen=True)
class Exported:
  """Result of an export.

  Attributes:
    step: step of the checkpoint.
    kept: dtype of the checkpoint's parameters.
    dtype: dtype of the written weights.
    bytes_read: bytes read from the checkpoint.
    size: bytes of the parameters.
  """

  step: int
  kept: str
  dtype: str
  bytes_read: int
  size: int


def open_checkpoint(
  workdir: Path, step: int | None
) -> tuple[Checkpoints, int, transformer.TransformerConfig, transformer.Params]:
  """Returns a run's checkpoints, the step (the last one for None), the model's shape and its parameters' shapes.

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


def load_policy(
  workdir: str | Path, step: int | None = None
) -> tuple[transformer.Params, transformer.TransformerConfig, int]:
  """Returns the parameters of a run's checkpoint, in this process's memory, the model's shape and the step.

  Raises:
    InputError: not a run, or no such checkpoint.
  """
  checkpoints, step, model_config, like = open_checkpoint(as_path(workdir), step)
  with checkpoints:
    return checkpoints.restore_params(step, like), model_config, step


def export_policy(
  workdir: Path, step: int | None, out: Path, *, dtype: str | None = None, max_shard_bytes: int | None = None
) -> Exported:
  """Writes the policy of a checkpoint as a Hugging Face folder, a tensor at a time, and returns its figures.

  Args:
    workdir: run directory, local or gs://.
    step: step of the checkpoint. None: the last one.
    out: new folder.
    dtype: dtype of the written weights. None: that of the base.
    max_shard_bytes: size above which the weights are split. None: as the base was, or 5 GB.

  Raises:
    InputError: not a run, no such checkpoint, or a folder that is not empty.
  """
  jax.config.update("jax_platforms", "cpu")  # leaves this host's accelerator to any training on it
  checkpoints, step, config, like = open_checkpoint(workdir, step)
  with checkpoints:
    stored = StoredParams(checkpoints.folder / str(step) / "params", like)
  source = local_copy(str(workdir / "model"))
  hf_export.save_weights(stored.read, config, out, source=source, dtype=dtype, max_shard_bytes=max_shard_bytes)
  size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
  return Exported(step, str(like["embed"].dtype), dtype or hf.stored_dtype(source), stored.bytes_read, size)
