"""Causal attention on an NVIDIA GPU (Ampere or later): cuDNN's fused kernel, through jax.nn.dot_product_attention.

cuDNN supports a causal mask with a length per row, and a bias added to the scores. It does not support segments. Rows
that each hold one sequence from their first token on use lengths, which needs no [T, T] array. Packed and left-padded
rows use a mask, a bf16 bias [B, 1, T, T] that the kernel reads at every head. The program contains both and chooses by
the segments when it runs. Statistics and accumulators are fp32.

Axes: B rows, T tokens of a row, H query heads, N key/value heads, D features of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from srpo_jax.model.kernels.mask import attention_mask
from srpo_jax.utils.arrays import Array


def applies(shape: tuple[int, ...], dtype: Any) -> bool:
  """Returns True if cuDNN takes queries [B, T, H, D] of this shape and type with gradients, which need an even T."""
  return dtype in (jnp.bfloat16, jnp.float16) and shape[-1] <= 128 and shape[-1] % 8 == 0 and shape[1] % 2 == 0


def cudnn_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """Computes `attention.causal_attention` on one device. The result is zero at padding."""
  at = jnp.arange(segments.shape[1])
  lengths = jnp.sum(segments > 0, axis=1, dtype=jnp.int32)
  one_each = jnp.all(segments == jnp.where(at < lengths[:, None], segments[:, :1], 0))

  def by_lengths(q: Array, k: Array, v: Array) -> Array:
    nonzero = jnp.maximum(lengths, 1)  # at least 1, or the softmax of a row of padding would be over nothing
    return jax.nn.dot_product_attention(
      q, k, v, is_causal=True, query_seq_lengths=nonzero, key_value_seq_lengths=nonzero, implementation="cudnn"
    )

  def by_mask(q: Array, k: Array, v: Array) -> Array:
    return jax.nn.dot_product_attention(q, k, v, mask=attention_mask(segments)[:, None], implementation="cudnn")

  out = jax.lax.cond(one_each, by_lengths, by_mask, q, k, v)
  return jnp.where((segments > 0)[..., None, None], out, 0)
