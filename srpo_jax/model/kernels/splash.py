"""Causal attention on TPU with JAX's splash kernel (jax.experimental.pallas.ops.tpu.splash_attention).

No [T, T] array is made in the forward or in the backward pass. Blocks above the diagonal are neither computed nor
read. Softmax statistics and accumulators are fp32. The kernel does not scale, so queries are scaled before the product
in their own type.

Cost of one call, with b = block_size(T), n = padded T / b, and A = n (n + 1) / 2 blocks on or below the diagonal of
each head:

- Forward: 4 A b^2 D B H FLOPs. For exact halves of T x T, A b^2 = T^2 / 2.
- Backward: 14 A b^2 D B H FLOPs in two kernels, 8 for dk and dv and 6 for dq. Each kernel computes the scores again.
- HBM traffic of the forward pass: q and out once, and one block of k and one of v for each visited block,
  2 A b D B H elements.

The custom calls are named splash_mha_fwd_segmented_no_residuals (prefill), splash_mha_fwd_segmented_residuals
(training), splash_mha_dkv_segmented_no_residuals and splash_mha_dq_segmented_no_residuals.

Axes: B rows, T tokens of a row, H query heads, N key/value heads, D features of a head.
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jaxtyping import Float, Int

from srpo_jax.utils.arrays import Array

BLOCKS = (1024, 512, 256, 128)  # the lanes of a TPU register are 128


def block_size(length: int) -> int:
  """Returns the side of the square blocks: the largest in BLOCKS that pads rows of `length` by at most an eighth.

  If none does, returns the smallest. Larger blocks read keys and values fewer times, but padding costs its share of the
  row in every kernel.
  """
  return next((b for b in BLOCKS if -length % b <= length // 8), BLOCKS[-1])


def splash_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
  *,
  interpret: bool = False,
) -> Float[Array, " B T H D"]:
  """Computes `attention.causal_attention` on one device. Pads rows to whole blocks and cuts the result again.

  Args:
    interpret: run the kernel's program on any platform, slowly.
  """
  length, heads, dim = q.shape[1:]
  b = block_size(length)
  pad = -length % b
  sizes = splash.BlockSizes(
    block_q=b,
    block_kv=b,
    block_kv_compute=min(b, 512),
    block_q_dkv=b,
    block_kv_dkv=b,
    block_kv_dkv_compute=min(b, 512),
    block_q_dq=b,
    block_kv_dq=b,
  )
  mask = splash.MultiHeadMask([splash.CausalMask((length + pad, length + pad))] * heads)
  kernel = splash.make_splash_mha(mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret)

  def heads_first(x: Array) -> Array:
    return jnp.moveaxis(jnp.pad(x, ((0, 0), (0, pad), (0, 0), (0, 0))), 2, 1)

  # Padding is segment 0 and comes last, so no token of the row can see it.
  ids = jnp.pad(segments, ((0, 0), (0, pad)))
  q = (q * dim**-0.5).astype(q.dtype)

  def row(q: Array, k: Array, v: Array, ids: Array) -> Array:
    return kernel(q, k, v, splash.SegmentIds(ids, ids))

  out = jax.vmap(row)(heads_first(q), heads_first(k), heads_first(v), ids)
  return jnp.moveaxis(out, 1, 2)[:, :length]
