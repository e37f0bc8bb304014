"""Causal grouped-query attention over padded or packed rows.

Axes: B rows, T tokens of a row, H query heads, N key/value heads, D features of a head, G = H / N.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from srpo_jax.arrays import Array
from srpo_jax.model.sharding import RULES, partition
from srpo_jax.model.target import target_device

Kernel = Callable[[Array, Array, Array, Array], Array]  # the arguments and the result of `causal_attention`

MASKED = -1e30  # finite: a row of padding alone keeps a finite softmax


def attention_mask(segments: Int[Array, "B T"]) -> Bool[Array, "B T T"]:
  """True where query i (second axis) may look at key j: same segment, j <= i. Segment 0 is padding.

  Padding looks at padding alone, so a row's real tokens never depend on how much padding it has or on which side.
  """
  same = segments[:, :, None] == segments[:, None, :]
  return same & jnp.tril(jnp.ones(same.shape[-2:], bool))


def causal_attention(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T N D"],
  v: Float[Array, "B T N D"],
  segments: Int[Array, "B T"],
) -> Float[Array, "B T H D"]:
  """Softmax(q k^T / sqrt(D)) v within segments, the softmax in fp32. Query head h reads key/value head h // G.

  By the platform's kernel (see the module); what stands at padding (segment 0) differs between kernels, but is finite.
  """
  if target_device().platform == "tpu":
    from srpo_jax.model.splash import splash_attention  # loads Mosaic, which other platforms do without

    return over_heads(splash_attention, q, k, v, segments)
  return xla_attention(q, k, v, segments)


def over_heads(
  kernel: Kernel,
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T N D"],
  v: Float[Array, "B T N D"],
  segments: Int[Array, "B T"],
) -> Float[Array, "B T H D"]:
  """`kernel` on each device's own rows and heads: XLA cannot split a kernel by itself.

  Where the mesh has more devices along the heads than there are key/value heads, each device has all of them, and
  picks those that its query heads read.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return kernel(q, k, v, segments)
  groups = q.shape[2] // k.shape[2]

  def local(q: Array, k: Array, v: Array, segments: Array) -> Array:
    heads, kv_heads = q.shape[2], k.shape[2]
    if heads != kv_heads * groups:
      first = jax.lax.axis_index(RULES["heads"]) * heads
      if groups % heads == 0:  # all read the same one
        k, v = (jax.lax.dynamic_slice_in_dim(x, first // groups, 1, axis=2) for x in (k, v))
      else:
        k, v = (jnp.take(x, (first + jnp.arange(heads)) // groups, axis=2) for x in (k, v))
    return kernel(q, k, v, segments)

  specs = [
    partition(axes, x.shape, mesh.shape)
    for x, axes in [
      (q, ("batch", "length", "heads", "head_dim")),
      (k, ("batch", "length", "kv_heads", "head_dim")),
      (v, ("batch", "length", "kv_heads", "head_dim")),
      (segments, ("batch", "length")),
    ]
  ]
  # A kernel does not say along which axes its result varies, so that cannot be checked.
  return jax.shard_map(local, in_specs=tuple(specs), out_specs=specs[0], check_vma=False)(q, k, v, segments)


def xla_attention(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T N D"],
  v: Float[Array, "B T N D"],
  segments: Int[Array, "B T"],
) -> Float[Array, "B T H D"]:
  """`causal_attention` by XLA alone: the reference of all kernels. Its [B, H, T, T] scores are fp32."""
  batch, length, heads, dim = q.shape
  kv_heads = k.shape[2]
  q = q.reshape(batch, length, kv_heads, heads // kv_heads, dim)

  def row(q, k, v, mask):
    # Heads lead and the product is two-dimensional per head: XLA's CPU backend runs that near its matmul rate, and
    # one row at a time keeps the [T, T] scores in cache.
    q, k, v = (jnp.moveaxis(a, 0, -2) for a in (q, k, v))  # [N, G, T, D], [N, T, D], [N, T, D]
    scores = jnp.einsum("ngtd,nsd->ngts", q, k, preferred_element_type=jnp.float32) * dim**-0.5
    weights = jax.nn.softmax(jnp.where(mask, scores, MASKED), axis=-1).astype(v.dtype)
    return jnp.moveaxis(jnp.einsum("ngts,nsd->ngtd", weights, v), -2, 0)

  out = jax.vmap(row)(q, k, v, attention_mask(segments))
  return out.reshape(batch, length, heads, dim)


def cached_attention(
  q: Float[Array, "S H D"],
  k: Float[Array, "S N T D"],
  v: Float[Array, "S N T D"],
  length: Int[Array, "S"],
) -> Float[Array, "S H D"]:
  """One query a slot against the first `length` positions of that slot's cache. S: slots."""
  slots, heads, dim = q.shape
  kv_heads, positions = k.shape[1:3]
  q = q.reshape(slots, kv_heads, heads // kv_heads, dim)
  scores = jnp.einsum("sngd,sntd->sngt", q, k, preferred_element_type=jnp.float32) * dim**-0.5
  visible = jnp.arange(positions) < length[:, None, None, None]
  weights = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1).astype(v.dtype)
  return jnp.einsum("sngt,sntd->sngd", weights, v).reshape(slots, heads, dim)
