"""Token sampling. Every draw derives its key from its purpose, so a rerun or another schedule replays it.

Axes: S slots, V vocabulary.
"""

import enum
import math
import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from srpo_jax.utils.arrays import Array


class Purpose(enum.IntEnum):
  """Purpose of a draw. It is part of every key, so that no two uses share draws."""

  TRAIN = 0
  EVAL = 1
  MINIBATCH = 2
  LABEL = 3
  MIX = 4
  SERVE = 5


def prompt_key(seed: int, purpose: Purpose, step: int, prompt_id: str) -> Key[Array, ""]:
  """Returns the key of one prompt's group. For each draw, fold in the sample and then the position in the response."""
  key = jax.random.key(seed)
  for part in (int(purpose), step, zlib.crc32(prompt_id.encode())):
    key = jax.random.fold_in(key, part)
  return key


def uniforms(keys: Key[Array, " S"], position: Int[Array, " S"]) -> Float[Array, " S"]:
  """Returns one uniform in [0, 1) per slot, for the token at `position` of its response."""
  return jax.vmap(lambda key, at: jax.random.uniform(jax.random.fold_in(key, at)))(keys, position)


def draw(
  logits: Float[Array, " S V"], uniform: Float[Array, " S"], temperature: Float[Array, " S"], top_p: float = 1.0
) -> tuple[Int[Array, " S"], Float[Array, " S"]]:
  """Draws from softmax(logits / temperature) by inverting its CDF at `uniform`, in two levels of sqrt(V) blocks.

  This takes one uniform and two short cumulative sums. A Gumbel draw needs V uniforms and two logarithms of each.

  Args:
    temperature: 0 is greedy.
    top_p: below 1, draws only from the nucleus. It is a Python number, and at 1 nothing is compiled for it.

  Returns:
    Tokens [S], and their log-probabilities [S] within the nucleus. Those of greedy slots are at temperature 1, all
    others at the slot's temperature.
  """
  slots, vocab = logits.shape
  greedy = temperature == 0
  scaled = logits.astype(jnp.float32) / jnp.where(greedy, 1.0, temperature)[:, None]
  top = jnp.max(scaled, axis=-1, keepdims=True)
  width = math.isqrt(vocab - 1) + 1
  blocks = -(-vocab // width)
  mass = jnp.exp(scaled - top)
  if top_p < 1:
    mass = jnp.where(in_nucleus(mass, top_p), mass, 0.0)
  mass = jnp.pad(mass, ((0, 0), (0, blocks * width - vocab))).reshape(slots, blocks, width)

  block_mass = mass.sum(-1)
  upper = jnp.cumsum(block_mass, axis=-1)
  total = upper[:, -1]
  target = uniform * total
  block = jnp.minimum(jnp.sum(upper <= target[:, None], axis=-1), blocks - 1)
  inner = jnp.take_along_axis(mass, block[:, None, None], axis=1)[:, 0]
  below = jnp.take_along_axis(upper - block_mass, block[:, None], axis=1)
  offset = jnp.sum(jnp.cumsum(inner, axis=-1) <= target[:, None] - below, axis=-1)
  # Rounding can carry the target past the block's sum. Then stay on the last token that has any mass.
  last = width - 1 - jnp.argmax(inner[:, ::-1] > 0, axis=-1)
  sampled = block * width + jnp.minimum(offset, last)

  token = jnp.where(greedy, jnp.argmax(logits, axis=-1), sampled).astype(jnp.int32)
  logprob = jnp.take_along_axis(scaled - top, token[:, None], axis=1)[:, 0] - jnp.log(total)
  return token, logprob


def in_nucleus(mass: Float[Array, " S V"], top_p: float) -> Bool[Array, " S V"]:
  """Returns the mask of the nucleus (Holtzman et al., arXiv 1904.09751).

  The nucleus is the smallest set of likeliest tokens that holds `top_p` of the mass. It contains every token whose mass
  reaches a threshold, the largest one for which these tokens hold `top_p`. Tokens of equal mass are therefore all in or
  all out. The threshold is found bit by bit, because floats from 0 on sort like their bits. This takes 31 sums over the
  vocabulary, where a sort would move it many times.

  Args:
    mass: probability mass, not necessarily normalized. At least 0, and the largest of each row is a normal number.
  """
  bits = jax.lax.bitcast_convert_type(mass, jnp.int32)
  wanted = top_p * mass.sum(-1)

  def narrow(i: Array, least: Array) -> Array:
    tried = least | (jnp.int32(1) << (30 - i))
    held = jnp.where(bits >= tried[:, None], mass, 0.0).sum(-1)
    return jnp.where(held >= wanted, tried, least)

  least = jax.lax.fori_loop(0, 31, narrow, jnp.zeros(mass.shape[0], jnp.int32))
  return bits >= least[:, None]
