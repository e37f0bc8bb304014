"""Writes a safetensors file tensor by tensor. The library's own writer needs all tensors in memory at once.

A file holds three parts (https://github.com/huggingface/safetensors#format):

1. The header's length as a little-endian uint64.
2. The header, JSON of name -> dtype, shape, data_offsets, padded with spaces to a multiple of 8 bytes.
3. The tensors' bytes, one after the other.

Order and spelling follow the library, so the same tensors give the same file.
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
  """Writes tensors of one dtype.

  Args:
    shapes: tensor name -> shape.
    read: returns a tensor by name, as consecutive blocks of its rows in `dtype`.

  Raises:
    ValueError: the blocks of a tensor do not have its shape in `shapes`, or have another dtype.
  """
  dtype = jnp.dtype(dtype)
  header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # required by transformers
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
          raise ValueError(
            f"{name}: block is {block.dtype}{list(block.shape)}, expected rows of {dtype}{list(shapes[name])}"
          )
        out.write(np.ascontiguousarray(block).view(np.uint8).data)
        rows += len(block)
      if rows != shapes[name][0]:
        raise ValueError(f"{name}: got {rows} rows, expected {shapes[name][0]}")
    out.flush()
    os.fsync(out.fileno())
