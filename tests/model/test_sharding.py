"""Tests the table of sharding rules, and compares a sharded step with that of a single device."""

import jax
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from srpo_jax.model import transformer
from srpo_jax.model.sharding import (
  MESH_AXES,
  PARAM_AXES,
  SERVING_RULES,
  axes_of,
  constrain,
  constrain_params,
  make_mesh,
  param_shardings,
  partition,
)
from srpo_jax.utils.errors import InputError
from tests.helpers.sharded import MESHES, on_eight_devices

SIZES = {"data": 2, "fsdp": 3, "tensor": 4}


@pytest.mark.parametrize(
  ("axes", "shape", "spec"),
  [
    (("batch", "length", "features"), (12, 5, 7), P(("data", "fsdp"), None, None)),
    (("batch", "length", "heads", "head_dim"), (6, 5, 8, 3), P(("data", "fsdp"), None, ("tensor",), None)),
    (("embed", "mlp"), (9, 8), P(("fsdp",), ("tensor",))),
    (("vocab", None), (8, 7), P(("tensor",), None)),
    (("batch", "length"), (1, 5), P(None, None)),  # the one row of a prefill
    (("embed", "kv_heads", "head_dim"), (9, 4, 5), P(("fsdp",), ("tensor",), None)),
    (("embed", "kv_heads", "head_dim"), (9, 2, 5), P(("fsdp",), None, None)),  # shorter than the mesh axis, so copied
  ],
)
def test_partition(axes, shape, spec):
  assert partition(axes, shape, SIZES) == spec


def test_serving_gathers_weights_only_over_fsdp():
  assert partition(("embed", "mlp"), (9, 8), SIZES, SERVING_RULES) == P(None, ("tensor",))


@pytest.mark.parametrize(
  ("axes", "shape", "error", "message"),
  [
    (("batch", "time"), (6, 5), ValueError, "unknown axis 'time'"),
    (("heads", "mlp"), (8, 8), ValueError, "expected each mesh axis once"),
    (("batch", "embed"), (6, 6), ValueError, "expected each mesh axis once"),
    (("batch",), (6, 5), ValueError, "shape"),
    (("batch", "length"), (8, 5), InputError, "config.mesh: data x fsdp is 6, which does not divide batch of size 8"),
    (("heads", "head_dim"), (14, 8), InputError, "tensor is 4, which does not divide heads of size 14"),
    (("kv_heads",), (6,), InputError, "does not divide kv_heads of size 6"),
  ],
)
def test_partition_refuses_axes_that_do_not_fit(axes, shape, error, message):
  with pytest.raises(error, match=message):
    partition(axes, shape, SIZES)


def test_a_mesh_of_other_axes_is_refused():
  with pytest.raises(ValueError, match="the mesh has the axes data, not fsdp"):
    partition(("batch",), (4,), {"data": 2})


def test_every_parameter_has_axes_and_no_other_leaf_does(model):
  _, params = model
  names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(params)}
  assert set(PARAM_AXES) == names | {"head"}
  jax.tree_util.tree_map_with_path(
    lambda path, leaf: partition(axes_of(path, leaf.shape), leaf.shape, dict.fromkeys(SIZES, 1)), params
  )
  with pytest.raises(ValueError, match="no axes are known"):
    axes_of((jax.tree_util.DictKey("layers"), jax.tree_util.DictKey("gate")), (2, 3))


def test_a_model_that_the_mesh_does_not_divide_is_named(model):
  _, params = model  # 4 heads
  mesh = AbstractMesh((1, 1, 8), MESH_AXES)
  with pytest.raises(InputError, match=r"tensor is 8, which does not divide heads of size 4 .*o_kernel"):
    param_shardings(params, mesh)


def test_without_a_mesh_nothing_changes(model):
  config, params = model
  assert make_mesh(1, 1, 1) is None
  assert constrain(params["embed"], "vocab", "embed") is params["embed"]
  for before, after in zip(jax.tree.leaves(params), jax.tree.leaves(constrain_params(params)), strict=True):
    assert before is after
  text = (
    jax.jit(lambda p, t: transformer.forward(p, config, t, t, t)).lower(params, jax.numpy.ones((2, 4), int)).as_text()
  )
  assert "sharding_constraint" not in text


def test_a_mesh_of_another_size_than_the_machine_is_refused():
  with pytest.raises(InputError, match=r"config\.mesh: data 3 x fsdp 1 x tensor 2 = 6, expected the number"):
    make_mesh(3, 1, 2)


def check_step(found, layers):
  """Checks a step to single precision, and the number of sharding constraints in both passes.

  Up to four layers are unrolled, so that the constraints appear once for each layer.
  """
  for mesh, result in found.items():
    assert result["gradients"] < 1e-5 and result["moments"] < 1e-5 and result["updates"] < 0.02, (mesh, result)
    assert result["constraints"] >= (20 if layers > 4 else 15 * layers), (mesh, result)


@pytest.mark.parametrize("qk_norm", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_step_on_eight_devices_equals_that_on_one(qk_norm):
  found = on_eight_devices("step", shapes=[(2, 2, 2), (1, 1, 8)], tied=True, qk_norm=qk_norm)
  assert list(found) == ["2x2x2", "1x1x8"]
  check_step(found, layers=2)


@pytest.mark.slow
def test_a_step_with_shared_prompts_on_eight_devices_equals_one_without_on_one():
  found = on_eight_devices("step", shapes=[(2, 2, 2), (1, 1, 8)], tied=True, group=4, share=True)
  check_step(found, layers=2)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("tied", "layers", "kv_heads", "qk_norm"), [(True, 2, 2, False), (False, 5, 4, False), (False, 5, 4, True)]
)
def test_a_step_on_every_mesh_of_eight_equals_that_on_one(tied, layers, kv_heads, qk_norm):
  found = on_eight_devices("step", shapes=MESHES, tied=tied, layers=layers, kv_heads=kv_heads, qk_norm=qk_norm)
  assert len(found) == 10
  check_step(found, layers)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["no-op", "per micro-batch"])
def test_check_step_detects_a_wrong_step(wrong):
  found = on_eight_devices("step", shapes=[(2, 2, 2)], tied=True, wrong=wrong)
  with pytest.raises(AssertionError):
    check_step(found, layers=2)
  assert found["2x2x2"]["updates"] > 0.5
