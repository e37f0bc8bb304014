"""A policy to sample from outside of training: a Hugging Face folder, or a checkpoint of a run."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from srpo_jax.config import Config, read_config
from srpo_jax.model import hf
from srpo_jax.model.qwen2 import Params
from srpo_jax.model.sharding import param_shardings
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.utils.digests import files_digest
from srpo_jax.utils.paths import local_copy


@dataclasses.dataclass(frozen=True)
class Policy:
  """Where a policy is.

  Attributes:
    folder: with the model's config and tokenizer.
    run: the workdir of the run that it is a checkpoint of; None: its weights are in `folder`.
    step: updates that the run has applied; 0 for a policy of no run.
  """

  folder: Path
  run: Path | None
  step: int

  @functools.cached_property
  def digest(self) -> str:
    """Names its weights."""
    if self.run is None:
      return files_digest([*self.folder.glob("*.safetensors"), *self.folder.glob("*.json")])
    saved = (self.run / "checkpoints" / str(self.step) / "params").rglob("*")
    return files_digest(file for file in saved if file.is_file())

  def load(self, config: Config) -> Params:
    """The parameters, laid out over the ambient mesh.

    Args:
      config: of the sampling; a run's weights keep the type in which it trained them.

    Raises:
      InputError: weights that do not fit the model or the mesh.
    """
    model_config = hf.read_config(self.folder)
    if self.run is not None:
      trained = read_config(self.run / "config.json").model.param_dtype
      like = hf.param_shapes(model_config, jnp.dtype(trained))
      with Checkpoints(self.run) as checkpoints:
        return checkpoints.restore_params(self.step, over_mesh(like))
    # Every use casts them to the type of the computation: master weights of twice the size would change no bit.
    narrow = jnp.dtype("bfloat16" if config.model.param_dtype == "bfloat16" else config.model.dtype)
    shardings = jax.tree.map(lambda x: x.sharding, over_mesh(hf.param_shapes(model_config, narrow)))
    return hf.load_params(self.folder, model_config, narrow, shardings=shardings)


def over_mesh(shapes: Any) -> Any:
  """Shapes of parameters, or of a tree that repeats theirs, each with its place on the ambient mesh."""
  mesh = jax.sharding.get_mesh()
  places = param_shardings(shapes, None if mesh.empty else mesh)
  return jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, places)


def of_folder(folder: Path) -> Policy:
  """The policy of a Hugging Face folder. Raises InputError where it is none."""
  hf.read_config(folder)
  return Policy(folder, None, 0)


def of_run(workdir: Path, step: int | None) -> Policy:
  """A checkpoint of a run; its last where `step` is None.

  Raises:
    InputError: not a run, or no such checkpoint.
  """
  with Checkpoints.of_run(workdir) as checkpoints:
    step = checkpoints.find(step)
  return Policy(local_copy(str(workdir / "model")), workdir, step)
