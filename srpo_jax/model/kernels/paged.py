"""Decoding attention on TPU: the paged kernel that comes with JAX (jax.experimental.pallas.ops.tpu.paged_attention).

The cache stays as it is, contiguous: [S, L, N, T, E] in order is [S L N T / page, page, E], so a slot's key/value head
in a layer is a sequence of its own whose pages follow one another, and the layer only says where they begin. The kernel
copies the pages that a slot's length reaches and no other. Scores, softmax statistics and the output's accumulator are
fp32 (queries go in as fp32, or it would keep the output in theirs); keys and values enter the products as bf16. E is D
filled up with zeros to whole registers.

Cost of one call: 4 E H FLOPs for each position read, and 4 N E bytes for each (k and v, bf16), where a slot of length n
reads ceil(n / page) pages. The custom call is named paged_attention.

Axes: S slots, L layers, T positions of the cache, H query heads, N key/value heads, D features of a head,
E of a head in the cache.
"""

import math

import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.paged_attention import paged_attention as in_tree
from jaxtyping import Float, Int

from srpo_jax.utils.arrays import Array

# Positions. A copy of a page is 128 KiB of k at D = 128: below that a core waits for latency, above it for what it
# does not need (half a page a slot).
PAGE = 512


def paged_attention(
  q: Float[Array, " S H D"],
  k: Float[Array, " S L N T E"],
  v: Float[Array, " S L N T E"],
  length: Int[Array, " S"],
  layer: Int[Array, ""],
  read: Int[Array, " n"],
  *,
  cores: int,
) -> Float[Array, " S H D"]:
  """`attention.stacked_attention` on one device.

  Args:
    length: at least 1.
    read: of `k`'s heads those that are read, each by the next H / n query heads.
    cores: of a chip, which share one program.
  """
  slots, heads, dim = q.shape
  layers, kv_heads, positions = k.shape[1:4]
  room = k.shape[-1]
  n, page = read.shape[0], math.gcd(positions, PAGE)
  pages = positions // page
  first = ((jnp.arange(slots) * layers + layer)[:, None] * kv_heads + read) * pages
  queries = jnp.pad(q.astype(jnp.float32) * dim**-0.5, ((0, 0), (0, 0), (0, room - dim)))
  out = in_tree(
    queries.reshape(slots * n, heads // n, room),
    k.reshape(1, -1, page, room),
    v.reshape(1, -1, page, room),
    jnp.repeat(length, n),
    (first[..., None] + jnp.arange(pages)).reshape(slots * n, pages),
    pages_per_compute_block=1,
    megacore_mode="batch" if cores == 2 and slots * n % 2 == 0 else None,
  )
  return out.reshape(slots, heads, room)[..., :dim].astype(q.dtype)
