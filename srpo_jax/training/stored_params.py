"""Reads the parameters of a checkpoint from its files one layer at a time, without devices or a copy of the model."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from srpo_jax.model.hf_tensors import Slot
from srpo_jax.model.transformer import Params
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json

KEPT_BYTES = 64 * 2**20  # largest stacked leaf (norms, biases) that is read once and kept without a warning


class StoredParams:
  """Reads orbax's files (zarr arrays in an OCDBT database) through TensorStore, as orbax does."""

  def __init__(self, folder: Path, like: Params):
    """
    Args:
      folder: WORKDIR/checkpoints/STEP/params, local or gs://.
      like: tree of the parameters' shapes and dtypes.

    Raises:
      InputError: an array is missing, unknown or unreadable, or has another shape or dtype.
    """
    self._context = ts.Context({"cache_pool": {"total_bytes_limit": 0}})
    self._leaves: dict[tuple[str, ...], Any] = {}
    self._kept: dict[tuple[str, ...], np.ndarray] = {}
    self._before = _bytes_read()
    listed = read_json(folder / "_METADATA").get("tree_metadata", {}).values()
    names = {".".join(key["key"] for key in array["key_metadata"]) for array in listed}
    wrong = sorted(names ^ {".".join(path) for path, _ in _flatten(like)})
    if wrong:
      where = "only in the checkpoint" if wrong[0] in names else "only in the model"
      raise InputError(f"{folder}: does not fit this model: {wrong[0]} is {where}")
    base = str(folder) if "://" in str(folder) else f"file://{folder}"
    for path, leaf in _flatten(like):
      kvstore = {"driver": "ocdbt", "base": f"{base}/", "path": ".".join(path) + "/"}
      try:
        stored = ts.open({"driver": "zarr", "kvstore": kvstore}, context=self._context, open=True, read=True).result()
      except ValueError as error:
        raise InputError(f"{folder}: {'.'.join(path)} cannot be read ({error})") from None
      if stored.shape != leaf.shape or stored.dtype.numpy_dtype != leaf.dtype:
        raise InputError(
          f"{folder}: does not fit this model: {'.'.join(path)} is {stored.dtype.name}{list(stored.shape)}, expected "
          f"{leaf.dtype}{list(leaf.shape)}"
        )
      self._leaves[path] = stored

  @property
  def bytes_read(self) -> int:
    """Bytes read from files or objects so far, as stored, so compressed."""
    return _bytes_read() - self._before

  def read(self, slot: Slot) -> Iterator[np.ndarray]:
    """Yields one layer of a stacked leaf, or consecutive parts of any other leaf along the axis stored first."""
    stored = self._leaves[slot.path]
    chunk = stored.chunk_layout.read_chunk.shape
    if slot.layer is not None:
      if slot.path not in self._kept and chunk[0] > 1:
        if _size(stored) > KEPT_BYTES:  # from a checkpoint written before chunks were cut by layer
          logging.warning("%s is not stored by layer, so it is kept in memory whole", ".".join(slot.path))
        self._kept[slot.path] = stored.read().result()
      if slot.path in self._kept:
        yield self._kept[slot.path][slot.layer]
      else:
        yield stored[slot.layer].read().result()
    else:
      axis = stored.rank - 1 if slot.transposed else 0
      for start in range(0, stored.shape[axis], chunk[axis]):
        part = slice(start, min(start + chunk[axis], stored.shape[axis]))
        yield stored[(slice(None),) * axis + (part,)].read().result()


def _size(stored: Any) -> int:
  return stored.size * stored.dtype.numpy_dtype.itemsize


def _flatten(tree: Params, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
  for name, node in tree.items():
    if isinstance(node, dict):
      yield from _flatten(node, (*path, name))
    else:
      yield (*path, name), node


def _bytes_read() -> int:
  """Returns the bytes that this process has read through TensorStore, from any source."""
  metrics = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/")
  sums = [m for m in metrics if m["name"].endswith(("/file/bytes_read", "/gcs/bytes_read", "/gcs_grpc/bytes_read"))]
  return sum(int(value["value"]) for metric in sums for value in metric["values"])
