"""Causal grouped-query attention over padded or packed rows, and that of decoding over a cache.

Which program computes it follows from the devices that it is compiled for (`target_device`), by one rule:

- TPU: rows by the splash kernel (`splash.py`); decoding by the paged kernel (`paged.py`) where a head has a multiple of
  128 features and the cache is bf16, else over buckets.
- NVIDIA GPU: rows by cuDNN (`cudnn.py`) in bf16 or fp16 where a head has at most 128 features, a multiple of 8, and a
  row an even number of tokens, else by XLA; decoding over buckets.
- CPU, and what is named nowhere above: XLA over everything. A bucket would change the last bits of the sums.

Decoding, chosen by the compiled programs of 32B on v5p:4x4x4 (64 slots a chip, 11,264 positions):
BENCH

Softmax statistics are fp32 in every one of them.

Axes: B rows, T tokens of a row (positions of a cache), H query heads, N key/value heads, D features of a head,
G = H / N, S slots.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from srpo_jax.arrays import Array
from srpo_jax.model.sharding import RULES, on_own_shards
from srpo_jax.model.target import target_device

Kernel = Callable[[Array, Array, Array, Array], Array]  # the arguments and the result of `causal_attention`

QUERIES = ("batch", "heads", "head_dim")  # axes of a decoding step's arrays on the mesh
CACHE = ("batch", "kv_heads", "length", "head_dim")
STACKED_CACHE = ("batch", "layer", "kv_heads", "length", "head_dim")

MASKED = -1e30  # finite: a row of padding alone keeps a finite softmax
SMALLEST_BUCKET = 256  # positions
LANES = 128  # of a TPU's registers: the paged kernel wants heads of whole ones, and pages of at least as many positions


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

  What stands at padding (segment 0) differs between the programs; it is finite.
  """
  kernel = _row_kernel(q)
  return over_heads(kernel, q, k, v, segments) if kernel else xla_attention(q, k, v, segments)


def _row_kernel(q: Float[Array, "B T H D"]) -> Kernel | None:
  """The kernel of the module's rule, imported only where it is used: Mosaic and cuDNN are not on every machine."""
  device = target_device()
  if device.platform == "tpu":
    from srpo_jax.model.splash import splash_attention

    return splash_attention
  if device.platform == "gpu" and "NVIDIA" in device.device_kind:
    from srpo_jax.model.cudnn import applies, cudnn_attention

    return cudnn_attention if applies(q.shape, q.dtype) else None
  return None


def over_heads(
  kernel: Kernel,
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T N D"],
  v: Float[Array, "B T N D"],
  segments: Int[Array, "B T"],
) -> Float[Array, "B T H D"]:
  """`kernel` on each device's own rows and heads: XLA cannot split a kernel by itself."""
  groups = q.shape[2] // k.shape[2]

  def own(q: Array, k: Array, v: Array, segments: Array) -> Array:
    heads, kv_heads = q.shape[2], k.shape[2]
    if heads != kv_heads * groups:
      k, v = (jnp.take(x, kv_heads_read(heads, kv_heads, groups), axis=2) for x in (k, v))
    return kernel(q, k, v, segments)

  queries, keys = (("batch", "length", heads, "head_dim") for heads in ("heads", "kv_heads"))
  return on_own_shards(own, (q, k, v, segments), (queries, keys, keys, ("batch", "length")), result=queries)


def kv_heads_read(heads: int, kv_heads: int, groups: int) -> Int[Array, "n"]:
  """Which of a device's key/value heads its query heads read, in their order, each by the next `heads` / n of them.

  Where the mesh has more devices along the heads than there are key/value heads, each device has all of those.

  Args:
    heads: query heads of the device.
    kv_heads: key/value heads of the device.
    groups: query heads of the model that read one key/value head.
  """
  if heads == kv_heads * groups:
    return jnp.arange(kv_heads)
  first = jax.lax.axis_index(RULES["heads"]) * heads
  if groups % heads == 0:  # all read the same one
    return (first // groups)[None]
  return (first + jnp.arange(heads)) // groups


def xla_attention(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T N D"],
  v: Float[Array, "B T N D"],
  segments: Int[Array, "B T"],
) -> Float[Array, "B T H D"]:
  """`causal_attention` by XLA alone: the reference of the kernels. Its [B, H, T, T] scores are fp32."""
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


def cache_positions(positions: int, dim: int, dtype: Any) -> int:
  """Positions that a cache needs to hold `positions` tokens a slot: whole pages where the paged kernel reads it."""
  multiple = LANES if positions < 512 else 512
  return -(-positions // multiple) * multiple if _has_paged_kernel(dim, dtype) else positions


def _has_paged_kernel(dim: int, dtype: Any) -> bool:
  return target_device().platform == "tpu" and dim % LANES == 0 and dtype == jnp.bfloat16


def cached_attention(
  q: Float[Array, "S H D"],
  k: Float[Array, "S N T D"],
  v: Float[Array, "S N T D"],
  length: Int[Array, "S"],
) -> Float[Array, "S H D"]:
  """One query a slot against the first `length` positions, at least 1, of that slot's cache."""
  if target_device().platform == "cpu":
    return xla_cached_attention(q, k, v, length)
  return stacked_attention(q, k[:, None], v[:, None], length, jnp.int32(0))


def stacked_attention(
  q: Float[Array, "S H D"],
  k: Float[Array, "S L N T D"],
  v: Float[Array, "S L N T D"],
  length: Int[Array, "S"],
  layer: Int[Array, ""],
) -> Float[Array, "S H D"]:
  """`cached_attention` over one layer of a cache that holds all, which is not taken out of it."""
  if not _has_paged_kernel(q.shape[-1], k.dtype) or k.shape[3] % LANES:
    return bucketed_attention(q, k, v, length, layer)
  from srpo_jax.model.paged import paged_attention

  cores, groups = target_device().num_cores or 1, q.shape[1] // k.shape[2]

  def own(q: Array, k: Array, v: Array, length: Array, layer: Array) -> Array:
    read = kv_heads_read(q.shape[1], k.shape[2], groups)
    return paged_attention(q, k, v, length, layer, read, cores=cores)

  axes = (QUERIES, STACKED_CACHE, STACKED_CACHE, ("batch",), ())
  return on_own_shards(own, (q, k, v, length, layer), axes, result=QUERIES)


def bucketed_attention(
  q: Float[Array, "S H D"],
  k: Float[Array, "S L N T D"],
  v: Float[Array, "S L N T D"],
  length: Int[Array, "S"],
  layer: Int[Array, ""],
) -> Float[Array, "S H D"]:
  """`stacked_attention` by XLA over the first positions of all slots, as many as the longest needs, in a few sizes.

  Each bucket is twice the one before, and the last the whole cache.
  """
  positions = k.shape[3]
  sizes = [SMALLEST_BUCKET << i for i in range(positions.bit_length()) if SMALLEST_BUCKET << i < positions]
  sizes.append(positions)

  def over(size: int) -> Callable[..., Array]:
    def first(x: Array) -> Array:
      slots, _, kv_heads, _, dim = x.shape
      return jax.lax.dynamic_slice(x, (0, layer, 0, 0, 0), (slots, 1, kv_heads, size, dim))[:, 0]

    return lambda: xla_cached_attention(q, first(k), first(v), length)

  which = jnp.searchsorted(jnp.array(sizes), jnp.max(length))
  return jax.lax.switch(which, [over(size) for size in sizes])


def xla_cached_attention(
  q: Float[Array, "S H D"],
  k: Float[Array, "S N T D"],
  v: Float[Array, "S N T D"],
  length: Int[Array, "S"],
) -> Float[Array, "S H D"]:
  """`cached_attention` by XLA alone, over every position of the cache: the reference of the others."""
  slots, heads, dim = q.shape
  kv_heads, positions = k.shape[1:3]
  q = q.reshape(slots, kv_heads, heads // kv_heads, dim)
  scores = jnp.einsum("sngd,sntd->sngt", q, k, preferred_element_type=jnp.float32) * dim**-0.5
  visible = jnp.arange(positions) < length[:, None, None, None]
  weights = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1).astype(v.dtype)
  return jnp.einsum("sngt,sntd->sngd", weights, v).reshape(slots, heads, dim)
