"""Paths of a run's files, either local or on gs:// through epath, which orbax also uses.

epath has the methods of pathlib, so the same code works for both. On gs:// it uses gcsfs through fsspec. Google's
default credentials apply, and STORAGE_EMULATOR_HOST selects another server.
"""

import contextlib
import fnmatch
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import cast

import fsspec
from etils import epath

from srpo_jax.utils.errors import InputError

CHECK = ".check"

# gcsfs must not cache listings, because orbax writes its files by TensorStore and gcsfs does not see them.
fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)


def as_path(path: str | os.PathLike[str]) -> Path:
  """Returns a local path, or a path on gs:// with the same methods.

  Raises:
    InputError: the text has another scheme, or gs:// without a bucket.
  """
  text = os.fspath(path)
  scheme, separator, rest = text.partition("://")
  if not separator:
    return Path(text)
  if scheme != "gs" or not rest.strip("/"):
    raise InputError(f"{text}: expected a folder, or gs://BUCKET/FOLDER")
  return cast(Path, epath.Path(text))


def is_local(path: Path) -> bool:
  return isinstance(path, Path)


def check_writable(folder: Path) -> None:
  """Writes an object into a folder on gs:// and deletes it, so that a bad bucket is reported before a model is loaded.

  Raises:
    InputError: there is no such bucket, there are no credentials, or they do not allow writing.
  """
  if is_local(folder):
    return
  try:
    (folder / CHECK).write_text("")
  except Exception as error:  # gcsfs raises its own errors, Google's and HTTP errors
    said = " ".join(str(error).split())
    raise InputError(f"{folder}: cannot be written: {said}; expected a bucket with the right to write") from None
  with contextlib.suppress(FileNotFoundError):  # another host of this run was faster
    (folder / CHECK).unlink()


@functools.cache
def local_copy(path: str, only: tuple[str, ...] = ()) -> Path:
  """Returns a local path as it is. A file or folder on gs:// is copied to a folder that is removed with this process.

  Args:
    only: patterns of the files to copy from a folder, relative to it (`*.json`). Empty: all of them.

  Raises:
    InputError: there is no such file or folder on gs://.
  """
  source = as_path(path)
  if is_local(source):
    return source
  if not source.exists():
    raise InputError(f"{path}: no such file or folder")
  target = Path(_copies().name) / str(local_copy.cache_info().misses) / source.name
  _copy(source, target, only)
  return target


@functools.cache
def _copies() -> tempfile.TemporaryDirectory[str]:
  return tempfile.TemporaryDirectory(prefix="srpo_jax-")


def _copy(source: Path, target: Path, only: tuple[str, ...], inside: str = "") -> None:
  if source.is_dir():
    target.mkdir(parents=True)
    for file in source.iterdir():
      _copy(file, target / file.name, only, f"{inside}{file.name}/")
  elif not only or any(fnmatch.fnmatchcase(inside.rstrip("/"), pattern) for pattern in only):
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as stored, target.open("wb") as copied:
      shutil.copyfileobj(stored, copied, 1 << 24)
