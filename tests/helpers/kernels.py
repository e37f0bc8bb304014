"""Helpers for kernel tests: Pallas kernels on a CPU, programs compiled for a TPU topology, difficult segment rows."""

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AbstractDevice, AxisType, Mesh, NamedSharding

from srpo_jax.model import attention
from srpo_jax.model.sharding import MESH_AXES, RULES, param_shardings, partition

HOPPER = AbstractDevice(device_kind="NVIDIA H200", num_cores=None, platform="gpu")
TPU = AbstractDevice(device_kind="TPU v6 lite", num_cores=1, platform="tpu")


@contextlib.contextmanager
def interpreted() -> Iterator[None]:
  """Runs every Pallas kernel traced in this context in interpret mode. Clears the traces before and after."""
  compiled = pl.pallas_call

  def interpret(*arguments, **options):
    return compiled(*arguments, **(options | {"interpret": True}))

  jax.clear_caches()
  with mock.patch.object(pl, "pallas_call", interpret):
    yield
  jax.clear_caches()


@contextlib.contextmanager
def as_on(device: AbstractDevice) -> Iterator[None]:
  """Makes the model choose its programs as if it were compiled for `device`."""
  with mock.patch.object(attention, "target_device", lambda: device):
    yield


def topology_mesh(name: str, shape: tuple[int, int, int]) -> Mesh:
  """Returns the mesh of a TPU topology without needing the hardware. Skips the test if libtpu is not installed."""
  pytest.importorskip("libtpu", reason="libtpu is not installed: no TPU program can be compiled")
  os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # outside the cloud there is no metadata server to query
  os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # the tests run in several processes
  from jax.experimental import topologies

  devices = topologies.get_topology_desc(name, platform="tpu").devices
  return Mesh(np.array(devices).reshape(shape), MESH_AXES, axis_types=(AxisType.Auto,) * 3)


@contextlib.contextmanager
def without_compilation_cache() -> Iterator[None]:
  """Turns the compilation cache off.

  A program for a TPU topology can be written to the cache, but only a machine with a TPU can read it.
  """

  def use(cache: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", cache)
    compilation_cache.reset_cache()  # the cache remembers the previous setting

  use(False)
  try:
    yield
  finally:
    use(True)


def abstract_params(shapes, mesh: Mesh, rules=RULES):
  """Returns the shapes of the parameters with their shardings on the mesh."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
    shapes,
    param_shardings(shapes, mesh, rules),
  )


def abstract(x, mesh: Mesh, *axes: str | None):
  """Returns the shape of an array with its sharding on the mesh."""
  sharding = NamedSharding(mesh, partition(axes, x.shape, mesh.shape))
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def hostile_segments(length: int) -> np.ndarray:
  """Returns [4, length] segment ids: three segments and padding, left padding, right padding, and only padding."""
  rows = np.zeros((4, length), np.int32)
  a, b, c = length // 5, length // 2, length - length // 8
  rows[0, :a], rows[0, a:b], rows[0, b:c] = 1, 2, 3
  rows[1, a:] = 1
  rows[2, :b] = 1
  return rows


def random_qkv(rows: int, length: int, heads: int, kv_heads: int, dim: int, dtype=jnp.float32):
  rng = np.random.default_rng(0)
  return tuple(jnp.asarray(rng.normal(size=(rows, length, h, dim)), dtype) for h in (heads, kv_heads, kv_heads))


def output_and_gradients(kernel, q, k, v, segments):
  """Returns the output at real tokens, and the gradients for q, k and v of its sum with random weights."""
  weight = jnp.asarray(np.random.default_rng(1).normal(size=q.shape), jnp.float32)
  real = (jnp.asarray(segments) > 0)[..., None, None]

  @jax.jit
  def run(q, k, v):
    def loss(q, k, v):
      out = jnp.where(real, kernel(q, k, v, segments).astype(jnp.float32), 0)
      return jnp.sum(out * weight), out

    (_, out), grads = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(q, k, v)
    return (out, *grads)

  return [np.asarray(x, np.float32) for x in run(q, k, v)]
