"""Decode programs of a model with the methods of JetStream's `Engine`, without importing JetStream.

`jetstream_engine.py` has the same class with JetStream's own types. A machine without JetStream and TensorFlow uses
this one (`rollout.backend = inprocess`). Both run the same compiled programs.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Key

from srpo_jax.model import decode
from srpo_jax.model.attention import cache_sizes
from srpo_jax.model.decode import DecodeState, Prefix
from srpo_jax.model.sharding import SERVING_RULES, constrain, constrain_params
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.utils.arrays import Array
from srpo_jax.utils.rounding import round_up


class Result(NamedTuple):
  """Tokens of one `generate` call, in a single array like JetStream's ResultTokens."""

  data: Any  # int32 [slots, chunk tokens + chunk validities + 1 length]
  tokens_idx: tuple[int, int]
  valid_idx: tuple[int, int]
  length_idx: tuple[int, int]
  samples_per_slot: int


class InProcessEngine:
  """Prefill, insert and generate for a fixed number of slots.

  Args:
    max_prompt: length of the longest prompt in tokens, including padding.
    max_new: length of the longest response in tokens.
    chunk: largest number of tokens that one `generate` emits per slot.
    stop_tokens: ids that end a response and are part of it.
    group: largest number of slots that one insert fills.
    top_p: probability mass of the likeliest tokens to sample from. Training samples from all of it.
  """

  result_type: Any = Result

  def __init__(
    self,
    config: TransformerConfig,
    *,
    slots: int,
    max_prompt: int,
    max_new: int,
    chunk: int,
    stop_tokens: Sequence[int],
    group: int = 1,
    dtype: Any = jnp.float32,
    top_p: float = 1.0,
  ):
    self.config, self.slots, self.group, self.dtype = config, slots, group, dtype
    self.max_prompt, self.max_new, self.chunk = max_prompt, max_new, chunk
    self._prefill = jax.jit(functools.partial(decode.prefill, config=config, dtype=dtype))
    self._insert = jax.jit(functools.partial(decode.insert, top_p=top_p), donate_argnums=1)
    self._generate = jax.jit(
      functools.partial(decode.generate, config=config, stop_tokens=tuple(stop_tokens), dtype=dtype, top_p=top_p),
      donate_argnames="state",
    )
    self._resize = jax.jit(decode.resize_cache, static_argnames="positions")
    self._longest = jax.jit(lambda state: constrain(jnp.max(jnp.where(state.active, state.length, 0))))
    self._pack = jax.jit(
      lambda out: constrain(jnp.concatenate([out.tokens, out.valid.astype(jnp.int32), out.lengths[:, None]], axis=1))
    )
    self._init = jax.jit(
      lambda positions: decode.init_state(config, slots, positions, chunk, dtype), static_argnames="positions"
    )
    self._reshard = jax.jit(
      lambda params: constrain_params(jax.tree.map(lambda leaf: leaf.astype(dtype), params), SERVING_RULES)
    )
    self._loaded: list[jax.Array] = []  # buffers that belong to the engine, not to the trainer

  def load_params(self, params: Params) -> Params:
    """Returns the trainer's parameters in the dtype and layout of rollouts, converted by one program on their devices.

    The call first frees the parameters that the last call made. It never frees the trainer's. If the trainer's
    parameters can be used directly (one device, same dtype), they are returned without a copy.
    """
    self.free_params()
    leaves = jax.tree.leaves(params)
    if jax.sharding.get_abstract_mesh().empty and all(leaf.dtype == self.dtype for leaf in leaves):
      return params
    loaded = self._reshard(params)
    self._loaded = jax.tree.leaves(loaded)
    return loaded

  def free_params(self) -> None:
    """Frees the parameters that `load_params` made, so that an update can use the memory."""
    for leaf in self._loaded:
      leaf.delete()
    self._loaded = []

  def init_decode_state(self) -> DecodeState:
    return self._init(positions=self.cache_sizes()[0])

  def prefill(
    self,
    *,
    params: Params,
    existing_prefix: Prefix | None = None,
    padded_tokens: Int[Any, " P"],
    true_length: int,
    key: Key[Array, ""] | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
  ) -> Prefix:
    """Runs the model over a prompt. The returned prefix also carries the options that JetStream has no argument for.

    Args:
      padded_tokens: the prompt, right-padded, [P].
      true_length: number of prompt tokens, at least 1.
      key: random key of the prompt's responses. None: a fixed key.
      max_new_tokens: largest number of tokens to generate. None: the engine's `max_new`.
      temperature: sampling temperature. 0 is greedy.
    """
    max_new_tokens = self.max_new if max_new_tokens is None else max_new_tokens
    if existing_prefix is not None:
      raise NotImplementedError("a prefix cannot be extended: prefill the whole prompt")
    if not 1 <= true_length <= len(padded_tokens) <= self.max_prompt:
      raise ValueError(
        f"prompt of {true_length} tokens padded to {len(padded_tokens)}, expected 1 to {self.max_prompt}"
      )
    if not 0 <= max_new_tokens <= self.max_new:
      raise ValueError(f"max_new_tokens {max_new_tokens}, expected 0 to {self.max_new}")
    return self._prefill(
      params,
      tokens=jnp.asarray(padded_tokens, jnp.int32),
      length=np.int32(true_length),
      key=jax.random.key(0) if key is None else key,
      max_new_tokens=np.int32(max_new_tokens),
      temperature=np.float32(temperature),
    )

  def insert(self, prefix: Prefix, decode_state: DecodeState, slot: int) -> DecodeState:
    """Puts sample 0 of the prompt into a slot. `decode_state` is donated."""
    return self.insert_group(prefix, decode_state, [slot], [0])

  def insert_group(
    self, prefix: Prefix, decode_state: DecodeState, slots: Sequence[int], samples: Sequence[int]
  ) -> DecodeState:
    """Puts samples of a prompt into slots, at most `group` of them. `decode_state` is donated."""
    at = np.full(self.group, self.slots, np.int32)  # indices out of range are skipped
    number = np.zeros(self.group, np.int32)
    at[: len(slots)], number[: len(samples)] = slots, samples
    return self._insert(prefix, self.fit_cache(decode_state, prefix.k.shape[2], shrink=False), at, number)

  def generate(self, params: Params, decode_state: DecodeState) -> tuple[DecodeState, Any]:
    """Emits up to `chunk` tokens in every active slot. The returned state has their log-probabilities.

    `decode_state` is donated.
    """
    k = self.chunk
    if len(self.cache_sizes()) > 1:
      decode_state = self.fit_cache(decode_state, int(self._longest(decode_state)) + k)
    state, out = self._generate(params, state=decode_state)
    return state, self.result_type(
      data=self._pack(out), tokens_idx=(0, k), valid_idx=(k, 2 * k), length_idx=(2 * k, 2 * k + 1), samples_per_slot=1
    )

  def cache_sizes(self) -> list[int]:
    """Returns the numbers of positions that the cache may have, in ascending order."""
    return cache_sizes(round_up(self.max_prompt + self.max_new, decode.WIDTH))

  def fit_cache(self, state: DecodeState, needed: int, *, shrink: bool = True) -> DecodeState:
    """Returns the state with the smallest cache that has the needed positions, or with the largest cache.

    Args:
      shrink: False keeps a cache that is larger.
    """
    sizes = self.cache_sizes()
    if len(sizes) == 1:
      return state
    size, present = next((size for size in sizes if size >= needed), sizes[-1]), state.k[0].shape[2]
    keep = size == present or (size < present and not shrink)
    return state if keep else self._resize(state, positions=size)
