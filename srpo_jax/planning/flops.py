"""FLOPs of a traced program, counted in its jaxpr: products exactly, loops times their trips, kernels by formula.

A multiply-add is two. Only products are counted (matrix products and attention kernels): on these chips everything
else runs beside them on other units. A forward pass that rematerialisation repeats stands in the jaxpr a second time,
and is counted so. Of a causal kernel that skips the blocks above the diagonal the half is counted; XLA's own attention
computes, and here counts, the full square.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr


def count_flops(jaxpr: Any, while_trips: int | None = None, fill: float = 1.0) -> float:
  """FLOPs of all devices together, those that repeat another's work aside.

  Args:
    jaxpr: of `jax.make_jaxpr`, or `.jaxpr` of a traced program.
    while_trips: of a loop whose end depends on data (a decode loop: its longest).
    fill: the share of the cache's positions that are in use, for kernels that read no others.

  Raises:
    ValueError: such a loop without `while_trips`, or a kernel that no formula knows.
  """
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  total = 0.0
  for eqn in jaxpr.eqns:
    total += _equation(eqn, while_trips, fill)
  return total


def _equation(eqn: Any, trips: int | None, fill: float) -> float:
  name, params = eqn.primitive.name, eqn.params
  if name == "dot_general":
    return dot_flops(eqn)
  if name in ("conv_general_dilated", "ragged_dot", "ragged_dot_general"):
    raise ValueError(f"{name}: no formula, expected products by dot_general alone")
  if name == "scan":
    return float(params["length"]) * count_flops(params["jaxpr"], trips, fill)
  if name == "while":
    inside = count_flops(params["body_jaxpr"], trips, fill) + count_flops(params["cond_jaxpr"], trips, fill)
    if inside and trips is None:
      raise ValueError("a loop with products in it whose trips depend on data, expected while_trips")
    return inside * (trips or 0)
  if name == "cond":
    return max(count_flops(branch, trips, fill) for branch in params["branches"])
  if name == "shard_map":
    split = {axis for spec in params["in_specs"] for part in spec if part for axis in _names(part)}
    parts = math.prod(params["mesh"].shape[axis] for axis in split)  # what is not split is the same work again
    return parts * count_flops(params["jaxpr"], trips, fill)
  if params.get("name") == "paged_attention":
    return paged_flops(eqn, fill)
  if name == "pallas_call":
    return kernel_flops(eqn)
  if name.startswith("dot_product_attention"):
    return cudnn_flops(eqn)
  return sum(count_flops(inner, trips, fill) for inner in _inner(params))


def _names(part: Any) -> tuple[str, ...]:
  return part if isinstance(part, tuple) else (part,)


def _inner(params: Mapping[str, Any]) -> list[Any]:
  """The jaxprs that an equation runs once: calls, checkpoints, custom derivatives."""
  found = []
  for key, value in params.items():
    if key in ("fwd_jaxpr_thunk", "jvp_jaxpr_fun", "jvp_jaxpr_thunk", "bwd", "fun_jaxpr_thunk"):
      continue
    for item in value if isinstance(value, (tuple, list)) else [value]:
      if isinstance(item, (ClosedJaxpr, Jaxpr)):
        found.append(item)
  return found


def dot_flops(eqn: Any) -> float:
  """2 x the result's elements x the contracted length."""
  (contract, _), _ = eqn.params["dimension_numbers"]
  left, out = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
  return 2.0 * math.prod(out) * math.prod(left[axis] for axis in contract)


def kernel_flops(eqn: Any) -> float:
  """A Pallas kernel by its own formula, found by its name.

  Splash attention visits the blocks on or below the diagonal, A = n (n + 1) / 2 of a head, and in each makes two
  products forward (q k, w v), four for dk and dv (q k, dv, dp, dk; a fifth, dq, where it is fused) and three for dq.
  """
  name = str(eqn.params["name"] or "")
  if name.startswith("splash_"):
    arrays = [v.aval for v in eqn.invars if v.aval.ndim >= 3 and jnp.issubdtype(v.aval.dtype, jnp.floating)]
    *rows, length, dim = arrays[0].shape
    sizes = json.loads(eqn.params["metadata"]["xprof_metadata"])
    block = next(sizes[key] for key in ("block_q", "block_q_dkv", "block_q_dq") if key in sizes)
    fused = "_dkv_" in name and any(v.aval.shape[-2:] == (length, dim) for v in eqn.outvars[:-2])
    products = 2 if "_fwd_" in name else 3 if "_dq_" in name else 5 if fused else 4
    n = -(-length // block)
    return products * 2.0 * math.prod(rows) * n * (n + 1) / 2 * block**2 * dim
  estimate = eqn.params.get("cost_estimate")
  if estimate is not None:
    return float(estimate.flops)
  raise ValueError(f"kernel {name}: no formula and no cost estimate, expected one in srpo_jax/planning/flops.py")


def paged_flops(eqn: Any, fill: float) -> float:
  """The in-tree decode kernel: 4 FLOPs a feature, query head and position that is in use."""
  shapes = [v.aval.shape for v in eqn.invars]
  slots, heads, dim = shapes[0]
  page, pages = shapes[1][2], next(s[1] for s in shapes[3:] if len(s) == 2 and s[0] == slots)
  return 4.0 * slots * heads * dim * pages * page * fill


def cudnn_flops(eqn: Any) -> float:
  """cuDNN's attention: queries [B, T, H, D] first, keys [B, S, N, D] second; five products in its backward pass."""
  query, key = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape
  products = 5 if "bwd" in eqn.primitive.name else 2
  batch, queries, heads, dim = query
  return products * 2.0 * batch * heads * queries * key[1] * dim / 2  # causal: half
