"""Causal attention on an NVIDIA GPU (Ampere or later): cuDNN's fused kernel, through jax.nn.dot_product_attention.

cuDNN knows a causal mask with a length a row, and it knows a bias added to the scores; it does not know segments. So
rows that hold one sequence each, from their first token on, go by lengths, and nothing of [T, T] is made; packed and
left-padded rows go by a mask, a bf16 bias [B, 1, T, T] that the kernel reads at every head. Both are in the program,
and it looks at the segments when it runs. Statistics and accumulators are fp32.

Axes: B rows, T tokens of a row, H query heads, N key/value heads, D features of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from srpo_jax.model.kernels.mask import attention_mask
from srpo_jax.utils.arrays import Array


def applies(shape: tuple[int, ...], dtype: Any) -> bool:
  """Whether cuDNN takes queries [B, T, H, D] of this shape and type, with gradients (it wants T even for those)."""
  return dtype in (jnp.bfloat16, jnp.float16) and shape[-1] <= 128 and shape[-1] % 8 == 0 and shape[1] % 2 == 0


def cudnn_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """`attention.causal_attention` on one device; zeros at padding."""
  at = jnp.arange(segments.shape[1])
  lengths = jnp.sum(segments > 0, axis=1, dtype=jnp.int32)
  one_each = jnp.all(segments == jnp.where(at < lengths[:, None], segments[:, :1], 0))

  def by_lengths(q: Array, k: Array, v: Array) -> Array:
    some = jnp.maximum(lengths, 1)  # of a row of padding too, or its softmax is over nothing
    return jax.nn.dot_product_attention(
      q, k, v, is_causal=True, query_seq_lengths=some, key_value_seq_lengths=some, implementation="cudnn"
    )

  def by_mask(q: Array, k: Array, v: Array) -> Array:
    return jax.nn.dot_product_attention(q, k, v, mask=attention_mask(segments)[:, None], implementation="cudnn")

  out = jax.lax.cond(one_each, by_lengths, by_mask, q, k, v)
  return jnp.where((segments > 0)[..., None, None], out, 0)
