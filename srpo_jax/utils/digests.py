"""Digests of files, without reading gigabytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_END = 1 << 20  # number of bytes that are read at each end of a file


def files_digest(files: Iterable[Path]) -> str:
  """Returns a digest of the files' names, sizes, first and last MiB. It is enough to tell two models' weights apart."""
  digest = hashlib.sha256()
  for file in sorted(files):
    with file.open("rb") as stream:
      size = stream.seek(0, 2)
      digest.update(f"{file.name} {size} ".encode())
      stream.seek(0)
      digest.update(stream.read(_END))
      stream.seek(max(size - _END, 0))
      digest.update(stream.read(_END))
  return digest.hexdigest()
