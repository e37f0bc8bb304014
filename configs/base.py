"""Defaults that every other config starts from: SRPO (arXiv 2504.14286), as far as it was published.

Not run yet. It cannot run by itself, because `model.path` and `data.train` are empty. The values and their meaning are
in srpo_jax/config.py.
"""

from typing import Any

from ml_collections import ConfigDict

from srpo_jax.config import Config, StageConfig
from srpo_jax.utils.fields import defaults


def stage(mix: dict[str, float] | None = None, **fields: Any) -> ConfigDict:
  """Returns a stage with the domain shares `mix`, by default all domains of the data, and with the given fields.

  It has no end condition unless one is given.
  """
  return ConfigDict(defaults(StageConfig) | {"mix": mix or {}} | fields, convert_dict=True, type_safe=True)


def get_config() -> ConfigDict:
  return ConfigDict(defaults(Config), convert_dict=True, type_safe=True)
