"""Where a run's files are: a local folder, or gs:// through epath, which orbax too uses.

epath has the methods of pathlib, so that one code serves both; on gs:// it works through fsspec's gcsfs. Google's
default credentials apply, and STORAGE_EMULATOR_HOST names another server.
"""

import contextlib
import functools
import os
import tempfile
from pathlib import Path
from typing import cast

import fsspec
from etils import epath

from srpo_jax.utils.errors import InputError

CHECK = ".check"

# Listings are asked for each time: orbax's files are written by TensorStore, past gcsfs, which would remember without.
fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)


def as_path(path: str | os.PathLike[str]) -> Path:
  """A local path, or one on gs:// with the same methods.

  Raises:
    InputError: another scheme, or gs:// without a bucket.
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
  """Puts an object into a folder on gs:// and deletes it: what is wrong with a bucket is told before a model is read.

  Raises:
    InputError: no such bucket, no credentials or no right to write there.
  """
  if is_local(folder):
    return
  try:
    (folder / CHECK).write_text("")
  except Exception as error:  # gcsfs has its own errors, and lets through Google's and those of HTTP
    said = " ".join(str(error).split())
    raise InputError(f"{folder}: cannot be written: {said}; expected a bucket with the right to write") from None
  with contextlib.suppress(FileNotFoundError):  # another host of this run was faster
    (folder / CHECK).unlink()


@functools.cache
def local_copy(path: str) -> Path:
  """A local path as it is; the file or folder of one on gs:// copied to a folder that goes with this process.

  Raises:
    InputError: there is nothing on gs:// by this name.
  """
  source = as_path(path)
  if is_local(source):
    return source
  if not source.exists():
    raise InputError(f"{path}: no such file or folder")
  target = Path(_copies().name) / str(local_copy.cache_info().misses) / source.name
  _copy(source, target)
  return target


@functools.cache
def _copies() -> tempfile.TemporaryDirectory[str]:
  return tempfile.TemporaryDirectory(prefix="srpo_jax-")


def _copy(source: Path, target: Path) -> None:
  if source.is_dir():
    target.mkdir(parents=True)
    for file in source.iterdir():
      _copy(file, target / file.name)
  else:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def as_local(path: str | os.PathLike[str], what: str) -> Path:
  """A local path.

  Raises:
    InputError: it is on gs://, where `what` cannot be read from.
  """
  if "://" in os.fspath(path):
    raise InputError(
      f"{what}: {os.fspath(path)}: expected a local path: copy it to each host (gcloud storage cp -r), or mount the "
      "bucket (gcsfuse)"
    )
  return Path(path)
