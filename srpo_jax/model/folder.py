"""Folder of a model that a path names: a local folder, owner/name[@revision] on the Hugging Face hub, or gs://."""

import functools
from pathlib import Path

from srpo_jax.model import hub
from srpo_jax.model.files import COMPANION_FILES, INDEX_FILE, TEMPLATES, WEIGHTS
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, is_local, local_copy

FORMS = "expected a local folder, owner/name[@revision] on the Hugging Face hub, or gs://BUCKET/FOLDER"


def model_folder(path: str, commit: str = "", *, weights: bool = True) -> Path:
  """Returns the local folder of a model. If it is on the hub or on gs://, its files are fetched once a process.

  Args:
    path: local folder, owner/name[@revision], or gs://BUCKET/FOLDER. A local folder of that name takes precedence.
    commit: commit of a model on the hub. Empty: the one that its revision has now.
    weights: False leaves out the weights of a model that is not local.

  Raises:
    InputError: there is no such model, or it cannot be fetched.
  """
  return _folder(path, commit, weights)


@functools.cache
def _folder(path: str, commit: str, weights: bool) -> Path:
  named = hub_model(path)
  if named is not None:
    return hub.download(named, commit or hub.find_commit(named), weights=weights)
  folder = as_path(path)
  if not is_local(folder):
    return local_copy(path, (*COMPANION_FILES, INDEX_FILE, TEMPLATES, *((f"*{WEIGHTS}",) if weights else ())))
  if not folder.is_dir():
    raise InputError(f"{folder}/config.json: no such file, {FORMS}")
  return folder


def hub_model(path: str) -> hub.HubModel | None:
  """Returns the model on the hub that a path names. None: the path is not of that form, or there is such a folder."""
  return None if Path(path).exists() else hub.parse_name(path)


def model_name(path: str) -> str:
  """Returns the last part of a model's path, without its revision."""
  named = hub_model(path)
  if named is not None:
    return named.repository.rpartition("/")[2]
  folder = as_path(path)
  return (folder.resolve() if is_local(folder) else folder).name
