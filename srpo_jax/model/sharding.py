"""Sharding of arrays by named axes, with one table of the mesh axes that split each named axis.

The mesh has three axes:

- `data` holds copies of the model that work on different rows.
- `fsdp` also splits the rows, and splits each weight and its moments.
- `tensor` splits heads, the MLP's features and the vocabulary.

Functions use the ambient mesh (`jax.set_mesh`) unless they take one. Without a mesh, arrays stay as they are.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from srpo_jax.utils.arrays import Array
from srpo_jax.utils.errors import InputError

MESH_AXES = ("data", "fsdp", "tensor")
Rules = Mapping[str, tuple[str, ...]]

RULES: Rules = {
  "batch": ("data", "fsdp"),  # rows of a micro-batch, slots of the engine
  "length": (),  # tokens of a row, positions of a cache
  "features": (),  # model features of an activation
  "layer": (),
  "embed": ("fsdp",),  # model features as an axis of a weight
  "norm": (),
  "vocab": ("tensor",),
  "mlp": ("tensor",),
  "heads": ("tensor",),
  "kv_heads": ("tensor",),
  "head_dim": (),
}
# Rollouts read every weight at every token. Gathering them over fsdp each time would cost more than keeping them whole.
SERVING_RULES: Rules = {**RULES, "embed": ()}

# Axes that are copied, not split, if they are shorter than their mesh axis. 7B has 4 key/value heads, 0.5B has 2.
COPIED_WHEN_FEW = frozenset({"kv_heads"})

PARAM_AXES: dict[str, tuple[str, ...]] = {  # last name of a leaf's path -> its axes, without the layer axis
  "embed": ("vocab", "embed"),
  "head": ("embed", "vocab"),
  "final_norm": ("norm",),
  "weight": ("norm",),
  "q_kernel": ("embed", "heads", "head_dim"),
  "k_kernel": ("embed", "kv_heads", "head_dim"),
  "v_kernel": ("embed", "kv_heads", "head_dim"),
  "q_bias": ("heads", "head_dim"),
  "k_bias": ("kv_heads", "head_dim"),
  "v_bias": ("kv_heads", "head_dim"),
  "o_kernel": ("heads", "head_dim", "embed"),
  "gate_kernel": ("embed", "mlp"),
  "up_kernel": ("embed", "mlp"),
  "down_kernel": ("mlp", "embed"),
}


def make_mesh(data: int, fsdp: int, tensor: int, devices: Sequence[Any] | None = None) -> Mesh | None:
  """Makes the mesh of a run. Returns None for a single device, which needs no mesh.

  Args:
    data, fsdp, tensor: sizes of the mesh axes.
    devices: devices of a topology to compile for. By default the devices of all processes of the run.

  Raises:
    InputError: the product of the sizes is not the number of devices.
  """
  size, elsewhere = data * fsdp * tensor, devices is not None
  if size == 1 and jax.process_count() == 1 and not elsewhere:
    return None
  devices = jax.devices() if devices is None else devices
  if size != len(devices):
    raise InputError(
      f"config.mesh: data {data} x fsdp {fsdp} x tensor {tensor} = {size}, expected the number of devices, "
      f"{len(devices)}" + (", or 1 to use one of them" if jax.process_count() == 1 and not elsewhere else "")
    )
  # Explicit axes, the default, need a sharding at every operation. Auto leaves to XLA what is not stated.
  auto = (AxisType.Auto,) * 3
  try:
    return jax.make_mesh((data, fsdp, tensor), MESH_AXES, axis_types=auto, devices=devices)
  except NotImplementedError:  # the sides of the slice do not form the mesh: 2 x 16 x 4 on 4 x 4 x 8
    split = mesh_utils.create_device_mesh((data, fsdp, tensor), devices, allow_split_physical_axes=True)
    return Mesh(split, MESH_AXES, axis_types=auto)


@contextlib.contextmanager
def on_mesh(mesh: Mesh | None) -> Iterator[None]:
  """Makes the mesh the ambient one inside the context. Does nothing without a mesh."""
  with jax.set_mesh(mesh) if mesh is not None else contextlib.nullcontext():
    yield


def partition(
  axes: tuple[str | None, ...], shape: tuple[int, ...], sizes: Mapping[str, int], rules: Rules = RULES
) -> PartitionSpec:
  """Returns the mesh axes that split each axis of an array.

  An axis of one element stays whole, such as the one row of a prefill. So does an axis named in COPIED_WHEN_FEW that is
  shorter than its mesh axis.

  Args:
    axes: a name of `rules` for each axis of `shape`; None for an axis that always stays whole.
    sizes: mesh axis -> devices along it.

  Raises:
    ValueError: a name is unknown, a mesh axis is missing or used twice, or `axes` and `shape` differ in length.
    InputError: mesh axes do not divide the length of their axis.
  """
  if len(axes) != len(shape):
    raise ValueError(f"axes {axes} for an array of shape {shape}, expected one name for each axis")
  unknown = [axis for axis in axes if axis is not None and axis not in rules]
  if unknown:
    raise ValueError(f"unknown axis {unknown[0]!r}, expected one of {', '.join(rules)}")
  parts = [() if axis is None else rules[axis] for axis in axes]
  used = [mesh_axis for part in parts for mesh_axis in part]
  missing = set(used) - set(sizes)
  if missing:
    raise ValueError(f"the mesh has the axes {', '.join(sizes)}, not {', '.join(sorted(missing))}")
  if len(set(used)) < len(used):
    raise ValueError(f"axes {axes} use the mesh axes {', '.join(used)}, expected each mesh axis once")
  spec: list[tuple[str, ...] | None] = []
  for axis, part, length in zip(axes, parts, shape, strict=True):
    ways = math.prod(sizes[mesh_axis] for mesh_axis in part)
    whole = ways == 1 or length == 1 or (axis in COPIED_WHEN_FEW and length < ways)
    if not whole and length % ways:
      raise InputError(f"config.mesh: {' x '.join(part)} is {ways}, which does not divide {axis} of size {length}")
    spec.append(None if whole else part)
  return PartitionSpec(*spec)


def constrain(x: Array, *axes: str | None, rules: Rules = RULES) -> Array:
  """Returns `x` sharded by the rules of its axes. Without axes, every device holds the whole array."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return x
  return jax.lax.with_sharding_constraint(x, partition(axes or (None,) * x.ndim, x.shape, mesh.shape, rules))


def on_own_shards(
  function: Callable[..., Array],
  arrays: tuple[Array, ...],
  axes: tuple[tuple[str | None, ...], ...],
  *,
  result: tuple[str | None, ...],
) -> Array:
  """Calls `function` on each device with that device's parts of the arrays. Meant for kernels, which XLA cannot split.

  Args:
    axes: named axes of each array.
    result: named axes of the result, which has the shape of the first array.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return function(*arrays)
  specs = tuple(partition(a, x.shape, mesh.shape) for a, x in zip(axes, arrays, strict=True))
  whole = partition(result, arrays[0].shape, mesh.shape)
  # A kernel does not declare along which axes its result varies, so JAX cannot check them.
  return jax.shard_map(function, in_specs=specs, out_specs=whole, check_vma=False)(*arrays)


def axes_of(path: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[str | None, ...]:
  """Returns the named axes of a leaf of the parameters, or of a tree of the same structure (gradients, moments).

  A scalar has no axes.

  Raises:
    ValueError: the table does not know the leaf.
  """
  if not shape:
    return ()
  names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
  if not names or names[-1] not in PARAM_AXES:
    raise ValueError(f"no axes are known for {jax.tree_util.keystr(path)}, expected a parameter's name")
  return ("layer",) * ("layers" in names) + PARAM_AXES[names[-1]]


def constrain_params(tree: Any, rules: Rules = RULES) -> Any:
  """Applies `constrain` to each leaf of the parameters, or of a tree of the same structure."""
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: constrain(leaf, *axes_of(path, leaf.shape), rules=rules), tree
  )


def param_shardings(tree: Any, mesh: Mesh | AbstractMesh | None, rules: Rules = RULES) -> Any:
  """Returns the sharding of each leaf of the parameters, or of a tree of the same structure.

  Args:
    tree: leaves are arrays or their shapes.

  Raises:
    InputError: the model does not divide over the mesh. The message names the leaf.
  """

  def sharding_of(path: tuple[Any, ...], leaf: Any) -> jax.sharding.Sharding:
    if mesh is None:
      return jax.sharding.SingleDeviceSharding(jax.devices()[0])
    try:
      return NamedSharding(mesh, partition(axes_of(path, leaf.shape), leaf.shape, mesh.shape, rules))
    except InputError as error:
      raise InputError(f"{error} ({jax.tree_util.keystr(path)})") from None

  return jax.tree_util.tree_map_with_path(sharding_of, tree)
