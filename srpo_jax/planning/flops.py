"""FLOPs of a traced program, counted in its jaxpr.

Products are counted exactly, loops by their trip counts and kernels by formulas. A multiply-add is two FLOPs. Only
matrix products and attention kernels count, because everything else runs beside them on other units of these chips. A
forward pass that rematerialisation repeats appears twice in the jaxpr and counts twice. A causal kernel that skips the
blocks above the diagonal counts half of the square. XLA's own attention computes the full square and counts as such.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr


def count_flops(jaxpr: Any, while_trips: int | None = None, fill: float = 1.0) -> float:
  """Returns the FLOPs of all devices together. Work that several devices repeat counts once.

  Args:
    jaxpr: result of `jax.make_jaxpr`, or `.jaxpr` of a traced program.
    while_trips: trip count of a loop whose end depends on data, such as the most steps of a decode loop.
    fill: fraction of the cache's positions in use, for kernels that read only those.

  Raises:
    ValueError: a loop's end depends on data and `while_trips` is None, or a kernel or product has no formula.
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
    raise ValueError(f"{name}: no formula, expected only products by dot_general")
  if name == "scan":
    return float(params["length"]) * count_flops(params["jaxpr"], trips, fill)
  if name == "while":
    inside = count_flops(params["body_jaxpr"], trips, fill) + count_flops(params["cond_jaxpr"], trips, fill)
    if inside and trips is None:
      raise ValueError("the trips of a loop with products depend on data, expected while_trips")
    return inside * (trips or 0)
  if name == "cond":
    return max(count_flops(branch, trips, fill) for branch in params["branches"])
  if name == "shard_map":
    split = {axis for spec in params["in_specs"] for part in spec if part for axis in _names(part)}
    # Devices along the other mesh axes repeat the same work.
    parts = math.prod(params["mesh"].shape[axis] for axis in split)
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
  """Returns the jaxprs that an equation runs once: calls, checkpoints, custom derivatives."""
  found = []
  for key, value in params.items():
    if key in ("fwd_jaxpr_thunk", "jvp_jaxpr_fun", "jvp_jaxpr_thunk", "bwd", "fun_jaxpr_thunk"):
      continue
    for item in value if isinstance(value, (tuple, list)) else [value]:
      if isinstance(item, (ClosedJaxpr, Jaxpr)):
        found.append(item)
  return found


def dot_flops(eqn: Any) -> float:
  """Returns the FLOPs of a dot_general: 2 x elements of the result x contracted length."""
  (contract, _), _ = eqn.params["dimension_numbers"]
  left, out = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
  return 2.0 * math.prod(out) * math.prod(left[axis] for axis in contract)


def kernel_flops(eqn: Any) -> float:
  """Returns the FLOPs of a Pallas kernel by a formula for its name, or by its own cost estimate.

  Splash attention visits the blocks on or below the diagonal, A = n (n + 1) / 2 per head. In each block it computes two
  products forward (q k, w v), four for dk and dv (q k, dv, dp, dk) and three for dq. A fused backward kernel computes
  dq as a fifth product beside dk and dv.

  Raises:
    ValueError: the kernel has neither a formula nor a cost estimate.
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
  """Returns the FLOPs of JAX's paged decode kernel: 4 per feature, query head and position in use."""
  shapes = [v.aval.shape for v in eqn.invars]
  slots, heads, dim = shapes[0]
  page, pages = shapes[1][2], next(s[1] for s in shapes[3:] if len(s) == 2 and s[0] == slots)
  return 4.0 * slots * heads * dim * pages * page * fill


def cudnn_flops(eqn: Any) -> float:
  """Returns the FLOPs of cuDNN's attention, with two products in the forward and five in the backward pass.

  Its first operand is the queries [B, T, H, D], its second the keys [B, S, N, D].
  """
  query, key = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape
  products = 5 if "bwd" in eqn.primitive.name else 2
  batch, queries, heads, dim = query
  return products * 2.0 * batch * heads * queries * key[1] * dim / 2  # the causal half
