"""Writes a safetensors file tensor by tensor; the library's own writer wants all of them in memory at once.

The format (https://github.com/huggingface/safetensors#format): the header's length as a little-endian uint64, the
header (JSON: name -> dtype, shape, data_offsets; padded with spaces to 8 bytes), then the tensors' bytes one after the
other. Order and spelling are the library's, so that the same tensors give the same file.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

DTYPE_CODES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def write_safetensors(
  file: Path,
  shapes: Mapping[str, tuple[int, ...]],
  dtype: Any,
  read: Callable[[str], Iterable[np.ndarray]],
) -> None:
  """Writes tensors of one dtype; `read(name)` gives a tensor as consecutive blocks of its rows, in that dtype.

  Raises:
    ValueError: blocks that are not the tensor that `shapes` says.
  """
  dtype = jnp.dtype(dtype)
  header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
  at = 0
  for name in sorted(shapes):
    size = math.prod(shapes[name]) * dtype.itemsize
    header[name] = {"dtype": DTYPE_CODES[dtype.name], "shape": list(shapes[name]), "data_offsets": [at, at + size]}
    at += size
  text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
  text += b" " * (-len(text) % 8)
  with file.open("wb") as out:
    out.write(len(text).to_bytes(8, "little") + text)
    for name in sorted(shapes):
      rows = 0
      for block in read(name):
        if block.dtype != dtype or block.shape[1:] != shapes[name][1:]:
          raise ValueError(f"{name}: a block of {block.dtype}{list(block.shape)} of {dtype}{list(shapes[name])}")
        out.write(np.ascontiguousarray(block).view(np.uint8).data)
        rows += len(block)
      if rows != shapes[name][0]:
        raise ValueError(f"{name}: {rows} rows of {shapes[name][0]}")
    out.flush()
    os.fsync(out.fileno())
