"""Autoregressive decoding in pure JAX: prefill a prompt once, insert it into slots, generate chunks for all slots.

Every slot holds one response with its own length, limit, temperature and key. A drawn token waits in the state until
the next step emits it and feeds it to the model. The first token is drawn from the prefill's logits at the insert, so
it takes the same path as all others.

On a mesh the slots are split over `data` and `fsdp`, and heads and vocabulary over `tensor`. A prefilled prompt and the
arrays that the host reads (tokens, log-probs) are not split over `data` and `fsdp`: each device has all slots of them.

Axes: S slots, L layers, N key/value heads, P positions of a padded prompt, T positions of the cache, D features of a
head, V vocabulary, K tokens of a chunk, G slots of an insert.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from srpo_jax.model import transformer
from srpo_jax.model.attention import (
  CACHE,
  STACKED_CACHE,
  cached_attention,
  causal_attention,
  has_paged_kernel,
  page_shape,
  stacked_attention,
)
from srpo_jax.model.sampling import draw, uniforms
from srpo_jax.model.sharding import constrain
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.utils.arrays import Array
from srpo_jax.utils.rounding import round_up

# A cache of one array per layer has a multiple of this many positions. XLA's CPU backend then adds in the same order
# for every size of the cache if heads have 64 features or more, so that a response does not depend on the size.
WIDTH = 64


class Prefix(NamedTuple):
  """Prefilled prompt with the settings of its request."""

  k: Float[Array, " L N P D"]
  v: Float[Array, " L N P D"]
  logits: Float[Array, " V"]  # of the token after the prompt
  length: Int[Array, ""]  # prompt tokens; positions from here on are padding
  key: Key[Array, ""]  # the prompt's key; each sample folds in its number
  max_new_tokens: Int[Array, ""]  # most tokens to generate
  temperature: Float[Array, ""]


# One array per layer, or for the paged kernel one array of all layers with T and D from `page_shape`.
Cache = list[Float[Array, " S N T D"]] | Float[Array, " S L N T D"]


class DecodeState(NamedTuple):
  """State of all slots."""

  k: Cache
  v: Cache
  length: Int[Array, " S"]  # positions of the cache in use
  token: Int[Array, " S"]  # drawn, not yet emitted
  logprob: Float[Array, " S"]  # of `token`
  emitted: Int[Array, " S"]  # tokens of the response so far
  max_new_tokens: Int[Array, " S"]
  temperature: Float[Array, " S"]
  key: Key[Array, " S"]
  active: Bool[Array, " S"]  # still generating
  logprobs: Float[Array, " S K"]  # of the last chunk's tokens


class Chunk(NamedTuple):
  """Tokens emitted by one `generate` call."""

  tokens: Int[Array, " S K"]
  valid: Bool[Array, " S K"]  # True for the emitted tokens, which come first; the other entries are unset
  lengths: Int[Array, " S"]  # tokens of the response so far


def split_slots(state: DecodeState) -> DecodeState:
  """Returns the state with its arrays sharded over the mesh."""

  def cache(x: Array) -> Array:
    return constrain(x, *(STACKED_CACHE if x.ndim == 5 else CACHE))

  k, v = jax.tree.map(cache, (state.k, state.v))
  return DecodeState(k, v, *(constrain(x, *("batch", "length")[: x.ndim]) for x in state[2:]))


def init_state(
  config: TransformerConfig, slots: int, positions: int, chunk: int, dtype: Any = jnp.float32
) -> DecodeState:
  """Returns empty slots.

  Args:
    positions: most tokens of a prompt and its response together; the caches may be a little longer.
    chunk: tokens per slot of one `generate` call.
    dtype: type of the cache.
  """
  layers, kv_heads, dim = config.num_hidden_layers, config.num_key_value_heads, config.head_dim

  def empty() -> Cache:
    if has_paged_kernel(dtype):
      return jnp.zeros((slots, layers, kv_heads, *page_shape(positions, dim)), dtype)
    rounded = round_up(positions, WIDTH)
    return [jnp.zeros((slots, kv_heads, rounded, dim), dtype) for _ in range(layers)]

  state = DecodeState(
    k=empty(),
    v=empty(),
    length=jnp.zeros(slots, jnp.int32),
    token=jnp.zeros(slots, jnp.int32),
    logprob=jnp.zeros(slots, jnp.float32),
    emitted=jnp.zeros(slots, jnp.int32),
    max_new_tokens=jnp.zeros(slots, jnp.int32),
    temperature=jnp.ones(slots, jnp.float32),
    key=jax.random.split(jax.random.key(0), slots),
    active=jnp.zeros(slots, bool),
    logprobs=jnp.zeros((slots, chunk), jnp.float32),
  )
  return split_slots(state)


def prefill(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, " P"],
  length: Int[Array, ""],
  key: Key[Array, ""],
  max_new_tokens: Int[Array, ""],
  temperature: Float[Array, ""],
  *,
  dtype: Any = jnp.float32,
) -> Prefix:
  """Runs a right-padded prompt of `length` tokens through the model once."""
  at = jnp.arange(tokens.shape[0])[None]
  segments = (at < length).astype(jnp.int32)

  def attend(q: Array, k: Array, v: Array, given: None) -> tuple[Array, tuple[Array, Array]]:
    return causal_attention(q, k, v, segments), (k[0].swapaxes(0, 1), v[0].swapaxes(0, 1))

  x, (k, v) = transformer.apply_layers(params, config, transformer.embed(params, tokens[None], dtype), at, attend)
  hidden = transformer.final_norm(params, config, jnp.take(x[0], length - 1, axis=0))
  k, v = (constrain(x, "layer", "kv_heads", "length", "head_dim") for x in (k, v))
  return Prefix(k, v, constrain(transformer.logits(params, hidden)), length, key, max_new_tokens, temperature)


def insert(
  prefix: Prefix, state: DecodeState, slots: Int[Array, " G"], samples: Int[Array, " G"], *, top_p: float = 1.0
) -> DecodeState:
  """Puts a prompt into several slots, each of which draws its own first token. Skips slot numbers out of range."""
  keys = jax.vmap(lambda sample: jax.random.fold_in(prefix.key, sample))(samples)
  group = slots.shape[0]
  token, logprob = draw(
    jnp.broadcast_to(prefix.logits, (group, prefix.logits.shape[0])),
    uniforms(keys, jnp.zeros(group, jnp.int32)),
    jnp.broadcast_to(prefix.temperature, group),
    top_p,
  )

  def put(into: Array, value: Array) -> Array:
    return into.at[slots].set(value, mode="drop")

  padded = prefix.k.shape[2]

  def put_cache(caches: Cache, new: Array) -> Cache:
    if not isinstance(caches, list):
      return caches.at[slots, :, :, :padded, : new.shape[-1]].set(new, mode="drop")
    return [c.at[slots, :, :padded].set(layer, mode="drop") for c, layer in zip(caches, new, strict=True)]

  state = state._replace(
    k=put_cache(state.k, prefix.k),
    v=put_cache(state.v, prefix.v),
    length=put(state.length, prefix.length),
    token=put(state.token, token),
    logprob=put(state.logprob, logprob),
    emitted=put(state.emitted, jnp.zeros((), jnp.int32)),
    max_new_tokens=put(state.max_new_tokens, prefix.max_new_tokens),
    temperature=put(state.temperature, prefix.temperature),
    key=put(state.key, keys),
    active=put(state.active, prefix.max_new_tokens > 0),
  )
  return split_slots(state)


def resize_cache(state: DecodeState, positions: int) -> DecodeState:
  """Returns the state with another number of positions in its cache of one array per layer.

  A smaller cache loses the last positions, which no active slot may use. A larger one gets zeros at the end.
  """

  def resize(layer: Array) -> Array:
    return jnp.pad(layer[:, :, :positions], ((0, 0), (0, 0), (0, max(0, positions - layer.shape[2])), (0, 0)))

  return split_slots(state._replace(k=[resize(layer) for layer in state.k], v=[resize(layer) for layer in state.v]))


def _visible(state: DecodeState) -> Int[Array, " S"]:
  """Returns the number of positions that each slot's new token sees, including its own.

  An inactive slot gets 1, since nothing reads its result.
  """
  return jnp.where(state.active, state.length + 1, 1)


def _append(cache: Float[Array, " S *layer N T D"], at: Int[Array, " S"], new: Array, *layer: Array) -> Array:
  """Returns the cache with `new` [S, N, D] at position `at` of each slot, in one layer if the cache holds all layers.

  Uses vmap instead of an index over slots. This way each device knows that it writes only its own slots and gathers no
  others. In a cache of all layers each head has its own index. When two heads were written as one window on a TPU, XLA
  copied the whole cache to another layout and back at every layer.
  """
  dim = new.shape[-1]

  def put(cache: Array, at: Array, new: Array) -> Array:
    head = (jnp.arange(len(new)),) if layer else (slice(None),)
    return cache.at[*layer, *head, at, :dim].set(new, mode="drop")

  return jax.vmap(put)(cache, at, new)


def _unrolled(
  layers: list[Params], config: TransformerConfig, x: Float[Array, " S 1 M"], state: DecodeState
) -> tuple[Array, Cache, Cache]:
  """Applies all blocks one after the other over a cache of one array per layer."""
  k_cache, v_cache = list(state.k), list(state.v)

  def attend(q: Array, k: Array, v: Array, layer: int) -> tuple[Array, None]:
    k_cache[layer] = _append(k_cache[layer], state.length, k[:, 0])
    v_cache[layer] = _append(v_cache[layer], state.length, v[:, 0])
    return cached_attention(q[:, 0], k_cache[layer], v_cache[layer], _visible(state))[:, None], None

  for i, layer_params in enumerate(layers):
    x, _ = transformer.apply_layer(layer_params, config, x, state.length[:, None], attend, i)
  return x, k_cache, v_cache


def _scanned(
  layers: Params, config: TransformerConfig, x: Float[Array, " S 1 M"], state: DecodeState
) -> tuple[Array, Cache, Cache]:
  """Applies all blocks in one loop over stacked weights and a cache of all layers, uncopied (see attention.py)."""

  def one(carry: tuple[Array, Cache, Cache], given: tuple[Params, Array]) -> tuple[tuple[Array, Cache, Cache], None]:
    x, k_cache, v_cache = carry
    layer_params, layer = given

    def append(cache: Cache, new: Array) -> Array:
      return constrain(_append(cast(Array, cache), state.length, new[:, 0], layer), *STACKED_CACHE)

    def attend(q: Array, k: Array, v: Array, given: None) -> tuple[Array, tuple[Array, Array]]:
      k, v = append(k_cache, k), append(v_cache, v)
      return stacked_attention(q[:, 0], k, v, _visible(state), layer)[:, None], (k, v)

    x, (k, v) = transformer.apply_layer(layer_params, config, x, state.length[:, None], attend, None)
    return (x, k, v), None

  carry, _ = jax.lax.scan(one, (x, state.k, state.v), (layers, jnp.arange(config.num_hidden_layers)))
  return carry


def generate(
  params: Params,
  config: TransformerConfig,
  state: DecodeState,
  *,
  stop_tokens: tuple[int, ...],
  dtype: Any = jnp.float32,
  top_p: float = 1.0,
) -> tuple[DecodeState, Chunk]:
  """Emits up to K tokens in every active slot, in one compiled loop that ends early when no slot is active.

  A slot stops after it emits a stop token or reaches its max_new_tokens. The cache has at least K positions more than
  the longest active slot uses.
  """
  slots, chunk = state.logprobs.shape
  if isinstance(state.k, list):
    layers = jax.tree.map(lambda leaf: leaf.astype(dtype), transformer.unstack_layers(params, config))
    through_layers = functools.partial(_unrolled, layers, config)
  else:
    through_layers = functools.partial(_scanned, params["layers"], config)

  def forward(token: Array, state: DecodeState) -> tuple[Array, Cache, Cache]:
    x = transformer.embed(params, token, dtype)[:, None]
    x, k, v = through_layers(x, state)
    return transformer.logits(params, transformer.final_norm(params, config, x[:, 0])), k, v

  def step(carry: tuple[Array, DecodeState, Chunk]) -> tuple[Array, DecodeState, Chunk]:
    i, state, out = carry
    emitted = state.emitted + state.active
    out = Chunk(out.tokens.at[:, i].set(state.token), out.valid.at[:, i].set(state.active), emitted)
    stopped = jnp.isin(state.token, jnp.array(stop_tokens, jnp.int32)) | (emitted >= state.max_new_tokens)
    active = state.active & ~stopped
    logits, k, v = forward(state.token, state)
    # A draw needs the whole distribution. Gathering it once is cheaper than the steps of a search across devices.
    token, logprob = draw(constrain(logits, "batch", None), uniforms(state.key, emitted), state.temperature, top_p)
    state = state._replace(
      k=k,
      v=v,
      length=state.length + active,
      token=token,
      logprob=logprob,
      emitted=emitted,
      active=active,
      logprobs=state.logprobs.at[:, i].set(state.logprob),
    )
    return i + 1, split_slots(state), out

  empty = Chunk(jnp.zeros((slots, chunk), jnp.int32), jnp.zeros((slots, chunk), bool), state.emitted)
  empty = Chunk(*(constrain(x, *("batch", "length")[: x.ndim]) for x in empty))
  start = (jnp.int32(0), split_slots(state), empty)
  _, state, out = jax.lax.while_loop(lambda c: (c[0] < chunk) & c[1].active.any(), step, start)
  return split_slots(state)._replace(logprobs=constrain(state.logprobs)), out
