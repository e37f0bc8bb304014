"""Names for what files hold, without reading gigabytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_END = 1 << 20  # bytes of a large file that are read, at either end


def files_digest(files: Iterable[Path]) -> str:
  """Of files' names, sizes and both ends: enough to tell the weights of two models apart."""
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
