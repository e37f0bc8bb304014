"""Reference policy for a loss that needs one. It is the policy that the run began from."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from srpo_jax.config import Config
from srpo_jax.model import hf
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path


def load_reference(
  config: Config, base: Path | None, model_config: TransformerConfig, run_start: int, like: Any
) -> Params:
  """Loads the parameters that the run began from. They are reloaded at every start, so the workdir stores no copy.

  Args:
    base: folder of the base model. None for a run that continues another run (`init_from`).
    run_start: first step of the run. A run with `init_from` began from that run's checkpoint of this step.
    like: shapes and shardings of the parameters.

  Raises:
    InputError: the other run no longer has that checkpoint.
  """
  if base is not None:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
    return hf.load_params(base, model_config, jnp.dtype(config.model.param_dtype), shardings=shardings)
  try:
    with Checkpoints.of_run(as_path(config.init_from)) as checkpoints:
      return checkpoints.restore_params(run_start, like)
  except InputError as error:
    raise InputError(f"{error}; config.loss.function {config.loss.function} needs it as the reference") from None
