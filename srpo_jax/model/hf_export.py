"""Writer of checkpoints in Hugging Face form, the bit-exact inverse of `hf.load_params`."""

import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from srpo_jax.model.files import INDEX_FILE, SINGLE_FILE, companion_names
from srpo_jax.model.hf import read_family, read_raw_config, stored_dtype
from srpo_jax.model.hf_tensors import Slot, row_blocks
from srpo_jax.model.safetensors_writer import DTYPE_CODES, write_safetensors
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import new_folder


def save_params(
  params: Params,
  config: TransformerConfig,
  out: str | Path,
  *,
  source: str | Path,
  dtype: str | None = None,
  max_shard_bytes: int | None = None,
) -> None:
  """Writes a Hugging Face folder from parameters in memory. See `save_weights` for arguments and errors."""
  save_weights(
    functools.partial(_slot_of, params), config, out, source=source, dtype=dtype, max_shard_bytes=max_shard_bytes
  )


def _slot_of(params: Params, slot: Slot) -> Iterator[np.ndarray]:
  leaf: Any = params
  for key in slot.path:
    leaf = leaf[key]
  yield np.asarray(leaf if slot.layer is None else leaf[slot.layer])


def save_weights(
  read: Callable[[Slot], Iterable[np.ndarray]],
  config: TransformerConfig,
  out: str | Path,
  *,
  source: str | Path,
  dtype: str | None = None,
  max_shard_bytes: int | None = None,
) -> None:
  """Writes a Hugging Face folder with the weights and SOURCE's companion files, one tensor in memory at a time.

  The folder is written beside `out` and renamed to `out` once it is complete.

  Args:
    read: returns the contents of a slot in our form. A slot without a layer may come in consecutive parts along the
      axis that is stored first.
    source: folder whose config.json, tokenizer and generation files are copied.
    dtype: dtype of the stored weights; None keeps SOURCE's dtype and copies its config.json unchanged.
    max_shard_bytes: largest size of one weight file. None uses the files of SOURCE's index if it has one and the dtype
      stays, else 5 GB.

  Raises:
    InputError: `out` exists and is not an empty folder, or SOURCE states a dtype in which weights cannot be stored.
  """
  out, source = Path(out), Path(source)
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise InputError(f"{out}: exists and is not an empty folder; expected a new one, nothing was written")
  kept = stored_dtype(source)
  if (dtype or kept) not in DTYPE_CODES:
    raise InputError(f"{source}/config.json: dtype is {kept!r}: expected another dtype to store, such as float32")
  with new_folder(out) as folder:
    for name in companion_names(source):
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_bytes((source / name).read_bytes())
    index = None
    if dtype is not None and dtype != kept:
      raw = read_raw_config(source)
      raw.pop("torch_dtype", None)
      (folder / "config.json").write_text(json.dumps(raw | {"dtype": dtype}, indent=2) + "\n")
    elif max_shard_bytes is None and (source / INDEX_FILE).is_file():
      index = (source / INDEX_FILE).read_bytes()
    _write_weights(read, config, folder, dtype or kept, max_shard_bytes or 5_000_000_000, index)


def write_params(params: Params, config: TransformerConfig, out: Path) -> None:
  """Writes only the weights, in fp32, into a folder that has a config.json."""
  _write_weights(functools.partial(_slot_of, params), config, out, "float32", 5_000_000_000, None)


def _write_weights(
  read: Callable[[Slot], Iterable[np.ndarray]],
  config: TransformerConfig,
  folder: Path,
  dtype: str,
  max_shard_bytes: int,
  index: bytes | None,
) -> None:
  """Writes the weights as one file, or as several with an index. FOLDER/config.json decides the names of the tensors.

  Uses the files of `index` if it lists exactly our tensors.
  """
  table = read_family(folder).tensors(config)
  weight_map: dict[str, str] = json.loads(index)["weight_map"] if index else {}
  if weight_map.keys() != table.keys():
    index, weight_map = None, _shard(table, jnp.dtype(dtype).itemsize, max_shard_bytes)

  def blocks(name: str) -> Iterator[np.ndarray]:
    slot = table[name]
    for part in read(slot):
      rows = slot.stored_rows(part)
      for block in row_blocks(range(len(rows)), rows[:1].nbytes):
        yield rows[block.start : block.stop].astype(dtype)

  for file in sorted(set(weight_map.values())):
    shapes = {name: table[name].stored_shape for name, at in weight_map.items() if at == file}
    write_safetensors(folder / file, shapes, dtype, blocks)
  if index:
    (folder / INDEX_FILE).write_bytes(index)
  elif len(set(weight_map.values())) > 1:
    total = sum(math.prod(slot.stored_shape) for slot in table.values()) * jnp.dtype(dtype).itemsize
    made = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(made, indent=2) + "\n")


def _shard(table: Mapping[str, Slot], itemsize: int, max_shard_bytes: int) -> dict[str, str]:
  """Returns tensor name -> file, in the table's order. Each file holds at most `max_shard_bytes`, or one tensor."""
  shards: list[list[str]] = [[]]
  held = 0
  for name, slot in table.items():
    size = math.prod(slot.stored_shape) * itemsize
    if shards[-1] and held + size > max_shard_bytes:
      shards.append([])
      held = 0
    shards[-1].append(name)
    held += size
  if len(shards) == 1:
    return dict.fromkeys(table, SINGLE_FILE)
  return {
    name: f"model-{number:05d}-of-{len(shards):05d}.safetensors"
    for number, names in enumerate(shards, 1)
    for name in names
  }
