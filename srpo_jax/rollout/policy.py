"""Policy to sample from outside of training. It is a Hugging Face folder or a checkpoint of a run."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from srpo_jax.config import Config, read_config
from srpo_jax.model import hf
from srpo_jax.model.sharding import param_shardings
from srpo_jax.model.transformer import Params
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.utils.digests import files_digest
from srpo_jax.utils.paths import local_copy


@dataclasses.dataclass(frozen=True)
class Policy:
  """Location of a policy.

  Attributes:
    folder: folder with the model's config and tokenizer.
    run: workdir of the run, for a policy that is a checkpoint. None: the weights are in `folder`.
    step: number of updates that the run has applied. 0 for a policy without a run.
  """

  folder: Path
  run: Path | None
  step: int

  @functools.cached_property
  def digest(self) -> str:
    """Digest that identifies the policy's weights."""
    if self.run is None:
      return files_digest([*self.folder.glob("*.safetensors"), *self.folder.glob("*.json")])
    saved = (self.run / "checkpoints" / str(self.step) / "params").rglob("*")
    return files_digest(file for file in saved if file.is_file())

  def load(self, config: Config) -> Params:
    """Returns the parameters, laid out over the ambient mesh.

    Args:
      config: config for sampling. A run's weights keep the dtype in which they were trained.

    Raises:
      InputError: the weights do not fit the model or the mesh.
    """
    model_config = hf.read_config(self.folder)
    if self.run is not None:
      trained = read_config(self.run / "config.json").model.param_dtype
      like = hf.param_shapes(model_config, jnp.dtype(trained))
      with Checkpoints(self.run) as checkpoints:
        return checkpoints.restore_params(self.step, over_mesh(like))
    # Every use casts the weights to the dtype of the computation, so a wider dtype would double memory for no gain.
    narrow = jnp.dtype("bfloat16" if config.model.param_dtype == "bfloat16" else config.model.dtype)
    shardings = jax.tree.map(lambda x: x.sharding, over_mesh(hf.param_shapes(model_config, narrow)))
    return hf.load_params(self.folder, model_config, narrow, shardings=shardings)


def over_mesh(shapes: Any) -> Any:
  """Returns shapes with shardings on the ambient mesh.

  Args:
    shapes: shapes of parameters, or of a tree that contains them, such as an optimizer state.
  """
  mesh = jax.sharding.get_mesh()
  places = param_shardings(shapes, None if mesh.empty else mesh)
  return jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, places)


def of_folder(folder: Path) -> Policy:
  """Returns the policy in a Hugging Face folder. Raises InputError if the folder is not one."""
  hf.read_config(folder)
  return Policy(folder, None, 0)


def of_run(workdir: Path, step: int | None) -> Policy:
  """Returns the policy of a run's checkpoint. A `step` of None means the last checkpoint.

  Raises:
    InputError: the folder is not a run, or has no such checkpoint.
  """
  with Checkpoints.of_run(workdir) as checkpoints:
    step = checkpoints.find(step)
  return Policy(local_copy(str(workdir / "model")), workdir, step)
