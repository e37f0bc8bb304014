"""Decoding attention on TPU with JAX's paged kernel (jax.experimental.pallas.ops.tpu.paged_attention).

The cache stays contiguous. [S, L, N, T, E] in memory order is also [S L N T / page, page, E]. Each key/value head of a
slot in a layer is therefore its own sequence of consecutive pages, and the layer only decides where they begin. The
kernel copies only the pages that a slot's length reaches. Scores, softmax statistics and the output's accumulator are
fp32. Queries go in as fp32, because the kernel keeps the output in the type of the queries. Keys and values enter the
products as bf16. E is D padded with zeros to whole registers.

One call costs 4 E H FLOPs and 4 N E bytes (k and v in bf16) for each position read. A slot of length n reads
ceil(n / page) pages. The custom call is named paged_attention.

Axes: S slots, L layers, T positions of the cache, H query heads, N key/value heads, D features of a head, E features
of a head in the cache.
"""

import math

import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.paged_attention import paged_attention as in_tree
from jaxtyping import Float, Int

from srpo_jax.utils.arrays import Array

# Positions per page. The copy of a page is 128 KiB of k at D = 128. With smaller pages a core waits for latency. With
# larger ones it waits for positions that it does not need (half a page per slot).
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
  """Computes `attention.stacked_attention` on one device.

  Args:
    length: positions of each slot to attend to, at least 1.
    layer: layer of the cache to read.
    read: indices of the key/value heads to read. Each serves the next H / n query heads.
    cores: number of cores of a chip, which share one program.
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
