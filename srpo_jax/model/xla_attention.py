"""Attention in plain XLA, the reference for the kernels.

Axes: B rows, T tokens of a row (positions of a cache), Q queries and K keys of a row, H query heads, N key/value heads,
D features of a head, S slots.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from srpo_jax.model.kernels.mask import attention_mask
from srpo_jax.utils.arrays import Array

MASKED = -1e30  # finite, so that the softmax of a row of padding stays finite


def xla_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """Computes `causal_attention` (attention.py). Its [B, H, T, T] scores are fp32."""
  return masked_attention(q, k, v, attention_mask(segments))


def masked_attention(
  q: Float[Array, " B Q H D"],
  k: Float[Array, " B K N D"],
  v: Float[Array, " B K N D"],
  mask: Bool[Array, " B Q K"],
) -> Float[Array, " B Q H D"]:
  """Returns softmax(q k^T / sqrt(D)) v over the keys where `mask` is True, with the softmax in fp32.

  Query head h reads key/value head h // (H / N).
  """
  batch, queries, heads, dim = q.shape
  kv_heads = k.shape[2]
  q = q.reshape(batch, queries, kv_heads, heads // kv_heads, dim)

  def row(q, k, v, mask):
    # Heads lead, so that the product is two-dimensional per head. XLA's CPU backend runs that near its matmul rate.
    # One row at a time keeps the [Q, K] scores in cache.
    q, k, v = (jnp.moveaxis(a, 0, -2) for a in (q, k, v))  # [N, G, Q, D], [N, K, D], [N, K, D]
    scores = jnp.einsum("ngtd,nsd->ngts", q, k, preferred_element_type=jnp.float32) * dim**-0.5
    weights = jax.nn.softmax(jnp.where(mask, scores, MASKED), axis=-1).astype(v.dtype)
    return jnp.moveaxis(jnp.einsum("ngts,nsd->ngtd", weights, v), -2, 0)

  out = jax.vmap(row)(q, k, v, mask)
  return out.reshape(batch, queries, heads, dim)


def xla_cached_attention(
  q: Float[Array, " S H D"],
  k: Float[Array, " S N T D"],
  v: Float[Array, " S N T D"],
  length: Int[Array, " S"],
) -> Float[Array, " S H D"]:
  """Computes `cached_attention` (attention.py) over every position of the cache."""
  slots, heads, dim = q.shape
  kv_heads, positions = k.shape[1:3]
  q = q.reshape(slots, kv_heads, heads // kv_heads, dim)
  scores = jnp.einsum("sngd,sntd->sngt", q, k, preferred_element_type=jnp.float32) * dim**-0.5
  visible = jnp.arange(positions) < length[:, None, None, None]
  weights = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1).astype(v.dtype)
  return jnp.einsum("sngt,sntd->sngd", weights, v).reshape(slots, heads, dim)
