"""Commit of a run's base model on the hub. A run keeps it for good, also if the branch moves."""

import dataclasses
from pathlib import Path

from srpo_jax.config import Config, read_config
from srpo_jax.model.folder import hub_model
from srpo_jax.model.hub import find_commit
from srpo_jax.utils.errors import InputError


def model_commit(config: Config, workdir: Path) -> str:
  """Returns the commit of the config's base model, or empty text for a model that is not on the hub.

  It is the one that the config states, else the one that the workdir's config.json records, else the one that the
  revision has now.

  Raises:
    InputError: the config states a commit of a model that is not on the hub, its path is a folder now and was not when
      the run started or the other way round, or the commit cannot be found.
  """
  model, file = config.model, workdir / "config.json"
  named = hub_model(model.path) if model.path and not config.init_from else None
  if model.revision and named is None:
    raise InputError(f"config.model.revision: {model.revision}: {model.path or 'the base'} is not a model on the hub")
  if model.revision or not file.exists():
    return model.revision or (find_commit(named) if named else "")
  recorded = read_config(file).model
  if recorded.path == model.path and bool(recorded.revision) != bool(named):
    here, there = ("no folder", "a folder") if named else ("a folder", "a model on the hub")
    raise InputError(f"config.model.path: {model.path} is {here} here, and {file} started from {there}")
  return recorded.revision if named else ""


def with_commit(config: Config, commit: str) -> Config:
  """Returns the config with the commit of its base model."""
  return dataclasses.replace(config, model=dataclasses.replace(config.model, revision=commit))
