"""Tests that rollouts on a mesh, from the trainer's own arrays, give the tokens of one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.jetstream_engine import JetStreamEngine
from tests.helpers.sharded import MESHES, NEW_TOKENS, make_engine, on_eight_devices


def check_rollouts(found):
  """Checks for the tokens of one device. One draw on the very edge between two tokens may fall to either side."""
  for mesh, result in found.items():
    assert result["responses"] == 20 and result["lengths"][0] < 4, (mesh, result)
    assert result["lengths"][-1] == NEW_TOKENS, (mesh, result)
    assert len(result["edges"]) <= 1 and all(edge < 1e-4 for edge in result["edges"]), (mesh, result)
    assert result["gap"] < 1e-4, (mesh, result)


@pytest.mark.slow
def test_tokens_on_eight_devices_equal_those_on_one():
  check_rollouts(on_eight_devices("rollout", shapes=[(2, 2, 2)]))


@pytest.mark.slow
@pytest.mark.parametrize(("kv_heads", "qk_norm", "jetstream"), [(2, False, False), (4, False, True), (4, True, False)])
def test_tokens_on_every_mesh_of_eight_equal_those_on_one(kv_heads, qk_norm, jetstream):
  found = on_eight_devices("rollout", shapes=MESHES, kv_heads=kv_heads, qk_norm=qk_norm, jetstream=jetstream)
  assert len(found) == 10
  check_rollouts(found)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 2, 2), (8, 1, 1)])  # on 8x1x1 training and rollouts share a layout
def test_serving_parameters(shape):
  made = on_eight_devices("serving", shape=shape)
  for dtype in ("float32", "bfloat16"):
    assert made[dtype] == {"dtypes": [dtype], "first_freed": True, "values": True, "second_freed": True}


@pytest.mark.slow
def test_no_collective_carries_a_cache():
  for mesh, sizes in on_eight_devices("programs", shapes=[(2, 2, 2), (1, 1, 8), (8, 1, 1)]).items():
    assert sizes["insert"] == [], mesh
    # The collectives are sums of [slots, features] over `tensor`, one for the embedding and two per layer, a gather of
    # the logits, a reduction of the active flags, and a gather of the chunk's log-probs.
    assert len(sizes["generate"]) <= 8 and max(sizes["generate"]) < min(sizes["cache"], 16 * 64 + 1), (mesh, sizes)


@pytest.mark.parametrize("engine_type", [InProcessEngine, JetStreamEngine])
def test_on_one_device_in_one_dtype_the_trainers_arrays_are_served(model, engine_type):
  config, params = model
  engine = make_engine(config, engine_type=engine_type)
  assert engine.load_params(params) is params
  engine.free_params()
  assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_on_one_device_another_dtype_is_cast_once_and_freed(model):
  config, params = model
  engine = make_engine(config, jnp.bfloat16)
  first = engine.load_params(params)
  second = engine.load_params(params)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
  for got, master in zip(jax.tree.leaves(second), jax.tree.leaves(params), strict=True):
    np.testing.assert_array_equal(got, np.asarray(master).astype(jnp.bfloat16))
  engine.free_params()
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(second))
  assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))
