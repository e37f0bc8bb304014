"""FLOPs of a traced program, counted in its jaxpr: products exactly, loops times their trips, kernels by formula.

A multiply-add is two. Only products are counted (matrix products and attention kernels): on these chips everything
else runs beside them on other units. A forward pass that rematerialisation repeats stands in the jaxpr a second time,
and is counted so. Of a causal kernel that skips the blocks above the diagonal the half is counted; XLA's own attention
computes, and here counts, the full square.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

Trips = Callable[[int], int]  # place of a data-dependent loop -> trips


def count_flops(jaxpr: Any, *, while_trips: int | None = None) -> float:
  """FLOPs of all devices together.

  Args:
    jaxpr: of `jax.make_jaxpr`, or `.jaxpr` of a traced program.
    while_trips: of a loop whose end depends on data (a decode loop: its longest).

  Raises:
    ValueError: such a loop without `while_trips`, or a kernel that no formula knows.
  """
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  total = 0.0
  for eqn in jaxpr.eqns:
    total += _equation(eqn, while_trips)
  return total


def _equation(eqn: Any, trips: int | None) -> float:
  name, params = eqn.primitive.name, eqn.params
  if name == "dot_general":
    return dot_flops(eqn)
  if name in ("conv_general_dilated", "ragged_dot", "ragged_dot_general"):
    raise ValueError(f"{name}: no formula, expected products by dot_general alone")
  if name == "scan":
    return float(params["length"]) * count_flops(params["jaxpr"], while_trips=trips)
  if name == "while":
    inside = count_flops(params["body_jaxpr"], while_trips=trips) + count_flops(params["cond_jaxpr"], while_trips=trips)
    if inside and trips is None:
      raise ValueError("a loop with products in it whose trips depend on data, expected while_trips")
    return inside * (trips or 0)
  if name == "cond":
    return max(count_flops(branch, while_trips=trips) for branch in params["branches"])
  if name == "shard_map":
    mesh = params["mesh"]
    devices = math.prod(mesh.shape[axis] for axis in params.get("manual_axes", mesh.axis_names))
    return devices * count_flops(params["jaxpr"], while_trips=trips)
  if name == "pallas_call":
    return kernel_flops(eqn)
  if name.startswith("dot_product_attention"):
    return cudnn_flops(eqn)
  return sum(count_flops(inner, while_trips=trips) for inner in _inner(params))


def _inner(params: Mapping[str, Any]) -> list[Any]:
  """The jaxprs that an equation runs once: calls, checkpoints, custom derivatives."""
  found = []
  for key, value in params.items():
    if key in ("fwd_jaxpr_thunk", "jvp_jaxpr_fun", "jvp_jaxpr_thunk", "bwd", "fun_jaxpr_thunk"):
      continue
    for item in value if isinstance(value, (tuple, list)) else [value]:
      if isinstance(item, (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)):
        found.append(item)
  return found


def dot_flops(eqn: Any) -> float:
  """2 x the result's elements x the contracted length."""
  (contract, _), _ = eqn.params["dimension_numbers"]
  left, out = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
  return 2.0 * math.prod(out) * math.prod(left[axis] for axis in contract)


def attention_flops(batch: int, heads: int, queries: int, keys: int, dim: int, *, products: int, causal: bool) -> float:
  """`products` of [queries, dim] x [dim, keys] a head and row; the half of them where the mask is causal."""
  return products * 2.0 * batch * heads * queries * keys * dim * (0.5 if causal else 1.0)


def kernel_flops(eqn: Any) -> float:
  """A Pallas kernel by its own formula, found by its name.

  Splash attention: two products forward (q k, w v), five in the fused backward pass (q k, dv, dp, dq, dk), three in
  that of dq alone (q k, dp, dq) and four in that of dk and dv (q k, dv, dp, dk); half of each, the mask being causal.
  """
  name = str(eqn.params.get("name") or eqn.params.get("name_and_src_info", ""))
  shapes = [v.aval.shape for v in eqn.invars]
  if "splash" in name:
    # [heads, queries, dim] x [kv heads, keys, dim]; a leading batch where the kernel is mapped over rows.
    arrays = [s for s in shapes if len(s) >= 3 and s[-1] >= 16 and s[-2] > 8]
    query, key = arrays[0], arrays[1]
    batch = math.prod(query[:-3])
    products = 2 if "fwd" in name else 3 if "dq" in name else 5 if "fused" in name else 4
    if "dkv" in name and "no_residuals" not in name and len(eqn.outvars) >= 3:
      products = 5  # dq comes out of the same kernel
    return attention_flops(batch, query[-3], query[-2], key[-2], query[-1], products=products, causal=True)
  estimate = eqn.params.get("cost_estimate")
  if estimate is not None:
    return float(estimate.flops)
  raise ValueError(f"kernel {name}: no formula and no cost estimate, expected one in srpo_jax/planning/flops.py")


def cudnn_flops(eqn: Any) -> float:
  """cuDNN's attention: queries [B, T, H, D] first, keys [B, S, N, D] second; five products in its backward pass."""
  query, key = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape
  products = 5 if "bwd" in eqn.primitive.name else 2
  return attention_flops(query[0], query[2], query[1], key[1], query[3], products=products, causal=True)
