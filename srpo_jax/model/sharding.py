"""Where arrays lie on the machine: named axes, and one table of the mesh axes that each is split over.

The mesh has three axes. `data` holds copies of the model that work on different rows; `fsdp` too splits the rows, and
each weight with its moments besides; `tensor` splits heads, the MLP's features and the vocabulary. The mesh is the
ambient one (`jax.set_mesh`); without one every function here gives back what it was given.
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
  "features": (),  # of an activation
  "layer": (),
  "embed": ("fsdp",),  # the same features as an axis of a weight
  "norm": (),
  "vocab": ("tensor",),
  "mlp": ("tensor",),
  "heads": ("tensor",),
  "kv_heads": ("tensor",),
  "head_dim": (),
}
# Rollouts read every weight at every token: gathering them over fsdp each time would cost more than keeping them.
SERVING_RULES: Rules = {**RULES, "embed": ()}

# Copied instead, where the mesh axis is larger than they are many: 7B has 4 key/value heads, 0.5B has 2.
COPIED_WHEN_FEW = frozenset({"kv_heads"})

PARAM_AXES: dict[str, tuple[str, ...]] = {  # last name of a leaf's path -> its axes, that of the layers aside
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
  """The mesh of a run; None for a single device, which needs none.

  Args:
    devices: those of a topology that programs are compiled for; by default this machine's, or all processes'.

  Raises:
    InputError: the sizes do not make up the devices that are there.
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
  # Explicit axes, the default, want a sharding at every operation; Auto leaves to XLA what is not stated.
  auto = (AxisType.Auto,) * 3
  try:
    return jax.make_mesh((data, fsdp, tensor), MESH_AXES, axis_types=auto, devices=devices)
  except NotImplementedError:  # a slice whose sides do not make up the mesh's: 2 x 16 x 4 on 4 x 4 x 8
    split = mesh_utils.create_device_mesh((data, fsdp, tensor), devices, allow_split_physical_axes=True)
    return Mesh(split, MESH_AXES, axis_types=auto)


@contextlib.contextmanager
def on_mesh(mesh: Mesh | None) -> Iterator[None]:
  """The mesh as the ambient one; without one nothing changes."""
  with jax.set_mesh(mesh) if mesh is not None else contextlib.nullcontext():
    yield


def partition(
  axes: tuple[str | None, ...], shape: tuple[int, ...], sizes: Mapping[str, int], rules: Rules = RULES
) -> PartitionSpec:
  """The mesh axes of each axis of an array.

  An axis of one element stays whole (the one row of a prefill), as do the axes named in COPIED_WHEN_FEW where they are
  shorter than the mesh axis; None stays whole always.

  Args:
    axes: a name of `rules` for each axis of `shape`.
    sizes: mesh axis -> devices along it.

  Raises:
    ValueError: an unknown name, a mesh axis twice, or another number of axes than the array has.
    InputError: an axis that its mesh axes do not divide.
  """
  if len(axes) != len(shape):
    raise ValueError(f"axes {axes} for an array of shape {shape}")
  unknown = [axis for axis in axes if axis is not None and axis not in rules]
  if unknown:
    raise ValueError(f"unknown axis {unknown[0]!r}, expected one of {', '.join(rules)}")
  parts = [() if axis is None else rules[axis] for axis in axes]
  used = [mesh_axis for part in parts for mesh_axis in part]
  missing = set(used) - set(sizes)
  if missing:
    raise ValueError(f"the mesh has the axes {', '.join(sizes)}, not {', '.join(sorted(missing))}")
  if len(set(used)) < len(used):
    raise ValueError(f"axes {axes} lie on the mesh axes {', '.join(used)}: two on one, expected each once")
  spec: list[tuple[str, ...] | None] = []
  for axis, part, length in zip(axes, parts, shape, strict=True):
    ways = math.prod(sizes[mesh_axis] for mesh_axis in part)
    whole = ways == 1 or length == 1 or (axis in COPIED_WHEN_FEW and length < ways)
    if not whole and length % ways:
      raise InputError(f"config.mesh: {' x '.join(part)} is {ways}, which does not divide {axis} of size {length}")
    spec.append(None if whole else part)
  return PartitionSpec(*spec)


def constrain(x: Array, *axes: str | None, rules: Rules = RULES) -> Array:
  """`x` itself, laid out as the rules say of its axes; of no axes, the whole array on every device."""
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
  """`function` of the arrays, run by each device on its own parts of them: for kernels, which XLA cannot split.

  Args:
    axes: of each array.
    result: axes of what `function` returns, which has the shape of the first array.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return function(*arrays)
  specs = tuple(partition(a, x.shape, mesh.shape) for a, x in zip(axes, arrays, strict=True))
  whole = partition(result, arrays[0].shape, mesh.shape)
  # A kernel does not say along which axes its result varies, so that cannot be checked.
  return jax.shard_map(function, in_specs=specs, out_specs=whole, check_vma=False)(*arrays)


def axes_of(path: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[str | None, ...]:
  """The axes of a leaf of the parameters, or of a tree that repeats theirs (gradients, moments); a scalar has none.

  Raises:
    ValueError: a leaf that the table does not know.
  """
  if not shape:
    return ()
  names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
  if not names or names[-1] not in PARAM_AXES:
    raise ValueError(f"no axes are known of {jax.tree_util.keystr(path)}, expected a parameter's name")
  return ("layer",) * ("layers" in names) + PARAM_AXES[names[-1]]


def constrain_params(tree: Any, rules: Rules = RULES) -> Any:
  """`constrain` for each leaf of parameters, or of a tree that repeats theirs."""
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: constrain(leaf, *axes_of(path, leaf.shape), rules=rules), tree
  )


def param_shardings(tree: Any, mesh: Mesh | AbstractMesh | None, rules: Rules = RULES) -> Any:
  """The sharding of each leaf (an array or its shape) of parameters, or of a tree that repeats theirs.

  Raises:
    InputError: the model does not divide over the mesh; names the leaf.
  """

  def of(path: tuple[Any, ...], leaf: Any) -> jax.sharding.Sharding:
    if mesh is None:
      return jax.sharding.SingleDeviceSharding(jax.devices()[0])
    try:
      return NamedSharding(mesh, partition(axes_of(path, leaf.shape), leaf.shape, mesh.shape, rules))
    except InputError as error:
      raise InputError(f"{error} ({jax.tree_util.keystr(path)})") from None

  return jax.tree_util.tree_map_with_path(of, tree)
