"""Decoding attention on TPU: the paged kernel that comes with JAX (jax.experimental.pallas.ops.tpu.paged_attention).

The cache stays as it is, contiguous: [S, L, N, T, D] in order is [S L N T / page, page, D], so a slot's key/value head in
a layer is a sequence of its own whose pages follow one another, and the layer is no more than where they begin. The kernel copies the pages that a slot's length reaches and no
other; scores, softmax statistics and the output's accumulator are fp32 (queries go in as fp32, or it would keep the
output in theirs), keys and values enter the products as bf16.

Cost of one call: 4 D H FLOPs for each position read, and 4 N D bytes for each (k and v, bf16), where a slot of length n
reads ceil(n / page) pages. The custom call's op_name ends in jit(paged_attention)/pallas_call.

Axes: S slots, L layers, T positions of the cache, H query heads, N key/value heads, D features of a head.
"""

import math

import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.paged_attention import paged_attention as in_tree
from jaxtyping import Float, Int

from srpo_jax.arrays import Array

# Positions. A copy of a page is 128 KiB of k at D = 128: below that a core waits for latency, above it for what it
# does not need (half a page a slot).
PAGE = 512


def paged_attention(
  q: Float[Array, "S H D"],
  k: Float[Array, "S L N T D"],
  v: Float[Array, "S L N T D"],
  length: Int[Array, "S"],
  layer: Int[Array, ""],
  read: Int[Array, "n"],
  *,
  cores: int,
) -> Float[Array, "S H D"]:
  """`attention.stacked_attention` on one device.

  Args:
    length: at least 1.
    read: of `k`'s heads those that are read, each by the next H / n query heads.
    cores: of a chip, which share one program.
  """
  slots, heads, dim = q.shape
  layers, kv_heads, positions = k.shape[1:4]
  n, page = read.shape[0], math.gcd(positions, PAGE)
  pages = positions // page
  first = ((jnp.arange(slots) * layers + layer)[:, None] * kv_heads + read) * pages
  out = in_tree(
    (q.astype(jnp.float32) * dim**-0.5).reshape(slots * n, heads // n, dim),
    k.reshape(1, -1, page, dim),
    v.reshape(1, -1, page, dim),
    jnp.repeat(length, n),
    (first[..., None] + jnp.arange(pages)).reshape(slots * n, pages),
    pages_per_compute_block=1,
    megacore_mode="batch" if cores == 2 and slots * n % 2 == 0 else None,
  )
  return out.reshape(slots, heads, dim).astype(q.dtype)
