"""Causal grouped-query attention over padded or packed rows, and that of decoding over a cache.

Which program computes it follows from the devices that it is compiled for (`target_device`), by one rule:

- TPU: rows by the splash kernel (`splash.py`); decoding by the paged kernel (`paged.py`) over a bf16 cache, over
  another by XLA.
- NVIDIA GPU: rows by cuDNN (`cudnn.py`) in bf16 or fp16 where a head has at most 128 features, a multiple of 8, and a
  row an even number of tokens, else by XLA. Any GPU: decoding by XLA over a bucket of positions (`bucket`).
- CPU, and what is named nowhere above: XLA over everything. A bucket would change the last bits of the sums.

Why pages, by the compiled decode program of 32B for v5p:4x4x4 (mesh 1 x 8 x 8; 1,024 slots, so 128 a chip and, at
tensor 8, one key/value head; 11,264 positions; 44 GiB of cache and 7.6 of weights a chip; slots in flight after prompts
of 200 tokens, responses drawn lognormal, mean 2,500, sigma 0.8, cut at 10,240; CPU time of a whole compilation):

    decoding by                cache read a step  temporaries  compiled in
    XLA over everything        44 GiB             7.7 GiB (a)  39 s (512 slots)
    XLA over buckets           44 GiB (b)
    pages, layers unrolled     10 GiB             0.7 GiB      161 s
    pages, a loop over layers  10 GiB             1.0 GiB      9 s

(a) A second copy of all weights: layers taken out of the stack before the decode loop. The loop over layers reads each
where it is. (b) One of 1,024 slots is nearly always past 8,192 positions, and in each branch of the switch XLA copies
the whole cache to another layout. A bucket follows the longest slot, a page each slot's own length: 2,519 positions a
slot on average, 256 of them past its end. The loop wants the layers in one array, slots first: with layers first
XLA keeps two more copies of it. The ragged paged kernel, in JAX too, wants the heads of k and v interleaved in one
array, and mixes prefills in, which the engine does not.

Softmax statistics are fp32 in every one of them.

Axes: B rows, T tokens of a row (positions of a cache), H query heads, N key/value heads, D features of a head,
G = H / N, S slots.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from srpo_jax.model.kernels.mask import attention_mask
from srpo_jax.model.kernels.target import target_device
from srpo_jax.model.sharding import RULES, on_own_shards
from srpo_jax.utils.arrays import Array

Kernel = Callable[[Array, Array, Array, Array], Array]  # the arguments and the result of `causal_attention`

QUERIES = ("batch", "heads", "head_dim")  # axes of a decoding step's arrays on the mesh
CACHE = ("batch", "kv_heads", "length", "head_dim")
STACKED_CACHE = ("batch", "layer", "kv_heads", "length", "head_dim")

MASKED = -1e30  # finite: a row of padding alone keeps a finite softmax
SMALLEST_BUCKET = 256  # positions
LANES = 128  # of a TPU's registers


def causal_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """Softmax(q k^T / sqrt(D)) v within segments, the softmax in fp32. Query head h reads key/value head h // G.

  What stands at padding (segment 0) differs between the programs; it is finite.
  """
  kernel = _row_kernel(q)
  return over_heads(kernel, q, k, v, segments) if kernel else xla_attention(q, k, v, segments)


def _row_kernel(q: Float[Array, " B T H D"]) -> Kernel | None:
  """The kernel of the module's rule, imported only where it is used: Mosaic and cuDNN are not on every machine."""
  device = target_device()
  if device.platform == "tpu":
    from srpo_jax.model.kernels.splash import splash_attention

    return splash_attention
  if device.platform == "gpu" and "NVIDIA" in device.device_kind:
    from srpo_jax.model.kernels.cudnn import applies, cudnn_attention

    return cudnn_attention if applies(q.shape, q.dtype) else None
  return None


def over_heads(
  kernel: Kernel,
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """`kernel` on each device's own rows and heads: XLA cannot split a kernel by itself."""
  groups = q.shape[2] // k.shape[2]

  def own(q: Array, k: Array, v: Array, segments: Array) -> Array:
    heads, kv_heads = q.shape[2], k.shape[2]
    if heads != kv_heads * groups:
      k, v = (jnp.take(x, kv_heads_read(heads, kv_heads, groups), axis=2) for x in (k, v))
    return kernel(q, k, v, segments)

  queries, keys = (("batch", "length", heads, "head_dim") for heads in ("heads", "kv_heads"))
  return on_own_shards(own, (q, k, v, segments), (queries, keys, keys, ("batch", "length")), result=queries)


def kv_heads_read(heads: int, kv_heads: int, groups: int) -> Int[Array, " n"]:
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
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
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


def has_paged_kernel(dtype: Any) -> bool:
  """Whether a cache of this type is one array, read by the paged kernel (which would cut fp32 down to bf16)."""
  return target_device().platform == "tpu" and dtype == jnp.bfloat16


def page_shape(positions: int, dim: int) -> tuple[int, int]:
  """(T, D) of a cache that the paged kernel reads: whole pages and registers. A TPU pads its memory to those anyway."""
  multiple = LANES if positions <= 4 * LANES else 4 * LANES
  return -(-positions // multiple) * multiple, -(-dim // LANES) * LANES


def cached_attention(
  q: Float[Array, " S H D"],
  k: Float[Array, " S N T D"],
  v: Float[Array, " S N T D"],
  length: Int[Array, " S"],
) -> Float[Array, " S H D"]:
  """One query a slot against the first `length` positions, at least 1, of that slot's cache."""
  if has_paged_kernel(k.dtype) and k.shape[2:] == page_shape(*k.shape[2:]):
    return stacked_attention(q, k[:, None], v[:, None], length, jnp.int32(0))
  return xla_cached_attention(q, k, v, length)


def stacked_attention(
  q: Float[Array, " S H D"],
  k: Float[Array, " S L N T E"],
  v: Float[Array, " S L N T E"],
  length: Int[Array, " S"],
  layer: Int[Array, ""],
) -> Float[Array, " S H D"]:
  """`cached_attention` by the paged kernel over one layer of a cache of all, which is not taken out of it.

  The E features of the cache are D and zeros.
  """
  from srpo_jax.model.kernels.paged import paged_attention

  cores, groups = target_device().num_cores or 1, q.shape[1] // k.shape[2]

  def own(q: Array, k: Array, v: Array, length: Array, layer: Array) -> Array:
    read = kv_heads_read(q.shape[1], k.shape[2], groups)
    return paged_attention(q, k, v, length, layer, read, cores=cores)

  axes = (QUERIES, STACKED_CACHE, STACKED_CACHE, ("batch",), ())
  return on_own_shards(own, (q, k, v, length, layer), axes, result=QUERIES)


def bucket(needed: int, positions: int) -> int | None:
  """How many positions of a cache XLA's attention is given on a GPU so that it sees `needed`; None elsewhere: all.

  Few sizes, each twice the one before, since each is a program. The host chooses: a choice in the program would have
  it wait for the device at every layer.
  """
  if target_device().platform != "gpu":
    return None
  size = SMALLEST_BUCKET
  while size < needed:
    size *= 2
  return min(size, positions)


def xla_cached_attention(
  q: Float[Array, " S H D"],
  k: Float[Array, " S N T D"],
  v: Float[Array, " S N T D"],
  length: Int[Array, " S"],
) -> Float[Array, " S H D"]:
  """`cached_attention` by XLA alone, over every position of the cache: the reference of the others."""
  slots, heads, dim = q.shape
  kv_heads, positions = k.shape[1:3]
  q = q.reshape(slots, kv_heads, heads // kv_heads, dim)
  scores = jnp.einsum("sngd,sntd->sngt", q, k, preferred_element_type=jnp.float32) * dim**-0.5
  visible = jnp.arange(positions) < length[:, None, None, None]
  weights = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1).astype(v.dtype)
  return jnp.einsum("sngt,sntd->sngd", weights, v).reshape(slots, heads, dim)
