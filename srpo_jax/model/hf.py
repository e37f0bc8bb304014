"""Reader of checkpoints in Hugging Face form, for every family in `families.registry`.

Reading checks that the folder and the table of tensors (`hf_tensors`) name the same tensors with the same shapes.
`hf_export` writes such folders. An import followed by an export gives the stored bits back.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from srpo_jax.model.families.config_file import ConfigFile
from srpo_jax.model.families.family import Family
from srpo_jax.model.families.registry import family_names, find_family
from srpo_jax.model.files import INDEX_FILE, SINGLE_FILE
from srpo_jax.model.hf_tensors import Part, Slot, row_blocks
from srpo_jax.model.transformer import Params, TransformerConfig, init_params
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json

CPU_ALIGNMENT = 64


def read_config(folder: str | Path) -> TransformerConfig:
  """Reads the model's shape and options from FOLDER/config.json.

  Raises:
    InputError: the file is missing, the family is not supported, or a field is missing or not supported.
  """
  config = _config_file(folder)
  return find_family(config).read(config)


def read_family(folder: str | Path) -> Family:
  """Returns the family of the model in a folder. Raises InputError if it is not supported."""
  return find_family(_config_file(folder))


def _config_file(folder: str | Path) -> ConfigFile:
  return ConfigFile(Path(folder) / "config.json", read_raw_config(folder))


def read_raw_config(folder: str | Path) -> dict[str, Any]:
  """Returns FOLDER/config.json as stored.

  Raises:
    InputError: the file is missing.
  """
  file = Path(folder) / "config.json"
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected the config.json of a Hugging Face folder ({family_names()})")
  return read_json(file)


def stored_dtype(folder: str | Path) -> str:
  """Returns the name of the weights' dtype as stated in config.json.

  If config.json states none, returns the dtype of the stored weights, or float32 if the folder holds no weights.
  """
  raw = read_raw_config(folder)
  stated = raw.get("dtype") or raw.get("torch_dtype")
  if stated is None and any(Path(folder).glob("*.safetensors")):
    name, file = next(iter(weight_files(folder).items()))
    with safe_open(file, framework="numpy") as handle:
      stated = {"BF16": "bfloat16", "F16": "float16"}.get(handle.get_slice(name).get_dtype())
  return stated or "float32"


def weight_files(folder: str | Path) -> dict[str, Path]:
  """Returns tensor name -> the safetensors file that holds it.

  Raises:
    InputError: a file is missing or unreadable, the index is malformed or names a tensor that its file does not hold,
      or the folder has both a single file and an index of other files.
  """
  folder = Path(folder)
  index = folder / INDEX_FILE
  if index.is_file():
    try:
      weight_map = json.loads(index.read_text())["weight_map"]
      files = {name: folder / file for name, file in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
      raise InputError(f"{index}: expected a JSON object with a weight_map of tensor names to files") from None
    for file in set(files.values()):
      names = set(_tensor_names(file))
      for name in (name for name, at in files.items() if at == file and name not in names):
        raise InputError(f"{file}: no tensor {name}, but {INDEX_FILE} lists it in this file")
    if (folder / SINGLE_FILE).is_file() and folder / SINGLE_FILE not in files.values():
      raise InputError(f"{folder}: has {SINGLE_FILE} and an {INDEX_FILE} of other files, expected one model's weights")
    return files
  file = folder / SINGLE_FILE
  if not file.is_file():
    raise InputError(f"{folder}: no {SINGLE_FILE} and no {INDEX_FILE}, expected the weights of a Hugging Face folder")
  return {name: file for name in _tensor_names(file)}


def _tensor_names(file: Path) -> list[str]:
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected a safetensors file named by {INDEX_FILE}")
  try:
    with safe_open(file, framework="numpy") as handle:
      return list(handle.keys())
  except SafetensorError as error:
    raise InputError(f"{file}: not a readable safetensors file ({error})") from None


def param_shapes(config: TransformerConfig, dtype: Any = jnp.float32) -> Params:
  """Returns the tree of the parameters with only shapes and `dtype`, no values."""
  shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), shapes)


def load_params(
  folder: str | Path, config: TransformerConfig, dtype: Any = jnp.float32, *, shardings: Any = None
) -> Params:
  """Loads the parameters of a Hugging Face folder as our tree, cast to `dtype`.

  Every header is checked before a weight is read. Each leaf is then built device by device from the slices of the
  stored tensors that the device holds, so a host reads only what its own devices need. Beside the arrays of its
  devices, a host's memory holds one block of BLOCK_BYTES (mapped and copied). If devices have their own memory, it also
  holds one device's part of a leaf.

  Args:
    shardings: sharding of each leaf, in a tree like the parameters'; None puts all leaves on the default device.

  Raises:
    InputError: a tensor is unknown, missing, of another shape or dtype, or not in its file. The message names it.
  """
  family = read_family(folder)
  files = _check_tensors(folder, config, family)
  wanted = param_shapes(config, jnp.dtype(dtype))
  if shardings is None:
    shardings = jax.tree.map(lambda _: None, wanted)
  if config.tie_word_embeddings:
    _check_tied_head(files, config, family, shardings["embed"])
  stored: dict[tuple[str, ...], dict[int | None, tuple[str, Slot]]] = {}  # leaf -> layer -> its tensor
  for name, slot in family.tensors(config).items():
    stored.setdefault(slot.path, {})[slot.layer] = name, slot

  def load(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding | None) -> jax.Array:
    tensors = stored[tuple(key.key for key in path)]

    def read_part(part: Part) -> np.ndarray:
      out = _aligned_empty(tuple(map(len, part)), leaf.dtype)
      if None in tensors:
        name, slot = tensors[None]
        _read_into(out, files[name], name, slot, part)
      else:
        for i, layer in enumerate(part[0]):
          name, slot = tensors[layer]
          _read_into(out[i], files[name], name, slot, part[1:])
      return out

    return _make_array(leaf.shape, sharding, read_part)

  leaves, tree = jax.tree_util.tree_flatten_with_path(wanted)
  places = jax.tree.leaves(shardings, is_leaf=lambda leaf: leaf is None)
  return jax.tree.unflatten(tree, [load(path, leaf, at) for (path, leaf), at in zip(leaves, places, strict=True)])


def _check_tensors(folder: str | Path, config: TransformerConfig, family: Family) -> dict[str, Path]:
  """Returns `weight_files` of the parameters after checking the header of every file. Reads no weight."""
  table, files = family.tensors(config), weight_files(folder)
  needed = list(table)
  if config.tie_word_embeddings:
    table[family.tensor_names["head",]] = table[family.tensor_names["embed",]]
  for file in sorted(set(files.values())):
    for name in _tensor_names(file):
      if files.get(name) != file:
        raise InputError(f"{file}: tensor {name} is here, but {INDEX_FILE} does not list it in this file")
  for name in files:
    if name not in table and not name.endswith(family.ignored):
      wanted = f"expected only tensors of {family.architecture} with this config.json"
      raise InputError(f"{files[name]}: unknown tensor {name}, {wanted}")
  for name in needed:
    if name not in files:
      raise InputError(f"{folder}: missing tensor {name}")
  for file in sorted(set(files.values())):
    with safe_open(file, framework="numpy") as handle:
      for name in filter(table.__contains__, handle.keys()):
        stored, kind = handle.get_slice(name).get_shape(), handle.get_slice(name).get_dtype()
        if kind not in ("F32", "BF16", "F16"):
          raise InputError(f"{file}: tensor {name} has dtype {kind}, expected F32, BF16 or F16")
        if tuple(stored) != table[name].stored_shape:
          raise InputError(f"{file}: tensor {name} has shape {list(stored)}, expected {list(table[name].stored_shape)}")
  return files


def _check_tied_head(
  files: Mapping[str, Path], config: TransformerConfig, family: Family, sharding: jax.sharding.Sharding | None
) -> None:
  """Raises InputError if a stored head differs from the embedding. Compares the parts that this host's devices hold."""
  tied = embed_name, head_name = family.tensor_names["embed",], family.tensor_names["head",]
  if head_name not in files:
    return
  for rows, columns in _local_parts((config.vocab_size, config.hidden_size), sharding):
    for block in row_blocks(rows, 4 * config.hidden_size):
      embed, head = (_read(files[name], name, (block, columns)) for name in tied)
      if not np.array_equal(head, embed):
        raise InputError(f"{files[head_name]}: tensor {head_name} differs from {embed_name}, which it is tied to")


def _read_into(out: np.ndarray, file: Path, name: str, slot: Slot, part: Part) -> None:
  """Fills `out` with a part of a tensor in our form, one block of stored rows at a time.

  Columns are taken row by row through the mapped file. This takes at most a quarter of the time of copying whole rows
  and cutting them, with the page cache cold or warm. The disk delivers whole pages either way.
  """
  rows, *columns = slot.stored_part(part)
  for block in row_blocks(rows, 4 * math.prod(slot.stored_shape[1:])):
    slot.put_rows(out, block.start - rows.start, _read(file, name, (block, *columns)))


def _read(file: Path, name: str, part: Part) -> np.ndarray:
  """Reads a part of a stored tensor.

  Opens the file only for this read, because the pages read count as our memory while it is open.
  """
  with safe_open(file, framework="numpy") as handle:
    return handle.get_slice(name)[tuple(slice(at.start, at.stop) for at in part)]


def _local_parts(shape: tuple[int, ...], sharding: jax.sharding.Sharding | None) -> dict[Part, list[jax.Device | None]]:
  """Returns the parts of an array on this host, each with the devices that hold it. None is the default device."""
  if sharding is None:
    return {tuple(map(range, shape)): [None]}
  parts: dict[Part, list[jax.Device | None]] = {}
  for device, index in sharding.addressable_devices_indices_map(shape).items():
    part = tuple(range(*at.indices(size)) for at, size in zip(index or (), shape, strict=True))
    parts.setdefault(part, []).append(device)
  return parts


def _make_array(
  shape: tuple[int, ...], sharding: jax.sharding.Sharding | None, read_part: Callable[[Part], np.ndarray]
) -> jax.Array:
  """Makes an array part by part. Each part leaves the host's memory before the next is read."""
  placed: list[jax.Array] = []
  for part, devices in _local_parts(shape, sharding).items():
    values = read_part(part)
    placed += [jax.device_put(values, device).block_until_ready() for device in devices]
  return placed[0] if sharding is None else jax.make_array_from_single_device_arrays(shape, sharding, placed)


def _aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
  """Allocates an array that JAX's CPU devices take over without a copy. At any other alignment they would copy it."""
  size = math.prod(shape) * dtype.itemsize
  raw = np.empty(size + CPU_ALIGNMENT, np.uint8)
  start = -raw.ctypes.data % CPU_ALIGNMENT
  return raw[start : start + size].view(dtype).reshape(shape)
