"""Causal grouped-query attention: over padded or packed rows, and over a cache when decoding.

The devices that the program is compiled for (`target_device`) decide the implementation:

- TPU: the splash kernel (`splash.py`) for rows. For decoding, the paged kernel (`paged.py`) over a bf16 cache and XLA
  over any other cache.
- NVIDIA GPU: cuDNN (`cudnn.py`) for rows in bf16 or fp16, if a head has at most 128 features, a multiple of 8, and a
  row has an even number of tokens. XLA for all other rows.
- Any GPU, CPU and everything else: XLA over a bucket of positions (`bucket`) for decoding.
- CPU and everything else: XLA for rows, which then may share a prompt between responses (`shared_prompts.py`).

Figures behind the choice of pages, from the compiled decode program of 32B for v5p:4x4x4. The mesh is 1 x 8 x 8. Each
chip holds 128 of the 1,024 slots and, at tensor 8, one key/value head. A slot has 11,264 positions. A chip holds 44 GiB
of cache and 7.6 GiB of weights. The slots in flight have prompts of 200 tokens and lognormal responses (mean 2,500,
sigma 0.8, cut at 10,240). The last column is the CPU time of a whole compilation.

    decoding by                cache read/step    temporaries  compiled in
    XLA over everything        44 GiB             7.7 GiB (a)  39 s (512 slots)
    XLA over buckets           44 GiB (b)
    pages, layers unrolled     10 GiB             0.7 GiB      161 s
    pages, a loop over layers  10 GiB             1.0 GiB      9 s

(a) The unrolled layers are taken out of the stack before the decode loop, which makes a second copy of all weights. The
loop over layers reads each layer in place.
(b) One of 1,024 slots is nearly always past 8,192 positions. In each branch of the switch XLA also copies the whole
cache to another layout.

A bucket follows the longest slot. Pages follow each slot's own length: 2,519 positions per slot on average, 256 of them
past its end. The loop over layers needs all layers in one array with the slots first. With the layers first, XLA keeps
two more copies of the array. JAX also has a ragged paged kernel, but it wants the heads of k and v interleaved in one
array, and it mixes prefills in, which the engine does not do.

Softmax statistics are fp32 in all of these.

Axes: B rows, T tokens of a row (positions of a cache), H query heads, N key/value heads, D features of a head,
G = H / N, S slots.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from srpo_jax.model.kernels.target import target_device
from srpo_jax.model.sharding import RULES, on_own_shards
from srpo_jax.model.xla_attention import xla_attention, xla_cached_attention
from srpo_jax.utils.arrays import Array
from srpo_jax.utils.rounding import round_up

Kernel = Callable[[Array, Array, Array, Array], Array]  # same arguments and result as `causal_attention`

# Logical axes of the arrays of a decoding step (see sharding.py).
QUERIES = ("batch", "heads", "head_dim")
CACHE = ("batch", "kv_heads", "length", "head_dim")
STACKED_CACHE = ("batch", "layer", "kv_heads", "length", "head_dim")

SMALLEST_CACHE = 256  # positions
LANES = 128  # lanes of a TPU register


def causal_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """Returns softmax(q k^T / sqrt(D)) v within segments, with the softmax in fp32.

  Query head h reads key/value head h // G. Values at padding (segment 0) are finite but depend on the implementation.
  """
  kernel = _row_kernel(q)
  return over_heads(kernel, q, k, v, segments) if kernel else xla_attention(q, k, v, segments)


def _row_kernel(q: Float[Array, " B T H D"]) -> Kernel | None:
  """Returns the kernel for rows on the target device, or None for XLA.

  Imports a kernel only where it is used, because Mosaic and cuDNN are not on every machine.
  """
  device = target_device()
  if device.platform == "tpu":
    from srpo_jax.model.kernels.splash import splash_attention

    return splash_attention
  if device.platform == "gpu" and "NVIDIA" in device.device_kind:
    from srpo_jax.model.kernels.cudnn import applies, cudnn_attention

    return cudnn_attention if applies(q.shape, q.dtype) else None
  return None


def can_share_prompts() -> bool:
  """Returns True if rows whose responses share a prompt are computed on the target device (shared_prompts.py).

  The kernels of TPU and GPU cannot mask one response from another that has the same prompt.
  """
  return target_device().platform not in ("tpu", "gpu")


def over_heads(
  kernel: Kernel,
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
) -> Float[Array, " B T H D"]:
  """Runs `kernel` on each device's own rows and heads, because XLA cannot split a kernel by itself."""
  groups = q.shape[2] // k.shape[2]

  def on_shard(q: Array, k: Array, v: Array, segments: Array) -> Array:
    heads, kv_heads = q.shape[2], k.shape[2]
    if heads != kv_heads * groups:
      k, v = (jnp.take(x, kv_heads_read(heads, kv_heads, groups), axis=2) for x in (k, v))
    return kernel(q, k, v, segments)

  queries, keys = (("batch", "length", heads, "head_dim") for heads in ("heads", "kv_heads"))
  return on_own_shards(on_shard, (q, k, v, segments), (queries, keys, keys, ("batch", "length")), result=queries)


def kv_heads_read(heads: int, kv_heads: int, groups: int) -> Int[Array, " n"]:
  """Returns the indices of the key/value heads that a device's query heads read, in order.

  Each of the n entries serves the next `heads` / n query heads. If the mesh has more devices along the heads than the
  model has key/value heads, each device holds all key/value heads.

  Args:
    heads: query heads on the device.
    kv_heads: key/value heads on the device.
    groups: query heads of the model per key/value head.
  """
  if heads == kv_heads * groups:
    return jnp.arange(kv_heads)
  first = jax.lax.axis_index(RULES["heads"]) * heads
  if groups % heads == 0:  # all query heads of the device read the same key/value head
    return (first // groups)[None]
  return (first + jnp.arange(heads)) // groups


def has_paged_kernel(dtype: Any) -> bool:
  """Returns True if a cache of this type is stored as one array for the paged kernel.

  Only bf16 caches are, because the kernel would cut fp32 down to bf16.
  """
  return target_device().platform == "tpu" and dtype == jnp.bfloat16


def page_shape(positions: int, dim: int) -> tuple[int, int]:
  """Returns (T, D) of a cache for the paged kernel, rounded up to whole pages and whole registers.

  A TPU pads its memory to those sizes anyway.
  """
  multiple = LANES if positions <= 4 * LANES else 4 * LANES
  return round_up(positions, multiple), round_up(dim, LANES)


def cached_attention(
  q: Float[Array, " S H D"],
  k: Float[Array, " S N T D"],
  v: Float[Array, " S N T D"],
  length: Int[Array, " S"],
) -> Float[Array, " S H D"]:
  """Attends from one query per slot to the first `length` positions (at least 1) of that slot's cache."""
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
  """Computes `cached_attention` with the paged kernel over one layer of a cache of all layers.

  The layer is read in place. The E features of the cache are a head's D features followed by zeros.
  """
  from srpo_jax.model.kernels.paged import paged_attention

  cores, groups = target_device().num_cores or 1, q.shape[1] // k.shape[2]

  def on_shard(q: Array, k: Array, v: Array, length: Array, layer: Array) -> Array:
    read = kv_heads_read(q.shape[1], k.shape[2], groups)
    return paged_attention(q, k, v, length, layer, read, cores=cores)

  axes = (QUERIES, STACKED_CACHE, STACKED_CACHE, ("batch",), ())
  return on_own_shards(on_shard, (q, k, v, length, layer), axes, result=QUERIES)


def cache_sizes(positions: int) -> list[int]:
  """Returns the numbers of positions that a cache of one array per layer may have, in ascending order.

  A cache starts small and grows with the longest response, so that the cost of a step follows what is in use. There are
  few sizes (256, 384, 512, 768, 1,024, ...), because each needs its own programs. A cache on a TPU has one size.

  Args:
    positions: most positions that are needed.
  """
  sizes, size = [], SMALLEST_CACHE
  while size < positions and target_device().platform != "tpu":
    sizes.append(size)
    size += size // 2 if size & (size - 1) == 0 else size // 3
  return [*sizes, positions]
