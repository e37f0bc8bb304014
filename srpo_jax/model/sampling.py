"""Drawing tokens: every draw's key is derived from what the draw is for, so a rerun or another schedule replays it.

Axes: S slots, V vocabulary.
"""

import enum
import math
import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Key

from srpo_jax.arrays import Array


class Purpose(enum.IntEnum):
  """What randomness is for; part of every key, so that no two uses share draws."""

  TRAIN = 0
  EVAL = 1
  MINIBATCH = 2
  LABEL = 3


def prompt_key(seed: int, purpose: Purpose, step: int, prompt_id: str) -> Key[Array, ""]:
  """The key of one prompt's group. Fold in the sample, then the position in the response, for each draw."""
  key = jax.random.key(seed)
  for part in (int(purpose), step, zlib.crc32(prompt_id.encode())):
    key = jax.random.fold_in(key, part)
  return key


def uniforms(keys: Key[Array, "S"], position: Int[Array, "S"]) -> Float[Array, "S"]:
  """One uniform in [0, 1) a slot, for the token at `position` of its response."""
  return jax.vmap(lambda key, at: jax.random.uniform(jax.random.fold_in(key, at)))(keys, position)


def draw(
  logits: Float[Array, "S V"], uniform: Float[Array, "S"], temperature: Float[Array, "S"]
) -> tuple[Int[Array, "S"], Float[Array, "S"]]:
  """Draws from softmax(logits / temperature) by inverting its CDF at `uniform`, in two levels of sqrt(V) blocks.

  One uniform and two short cumulative sums: a Gumbel draw needs V uniforms and two logarithms of each.
  Temperature 0 is greedy.

  Returns:
    Tokens, and their log-probabilities at the temperature (at temperature 1 where it is 0).
  """
  slots, vocab = logits.shape
  greedy = temperature == 0
  scaled = logits.astype(jnp.float32) / jnp.where(greedy, 1.0, temperature)[:, None]
  top = jnp.max(scaled, axis=-1, keepdims=True)
  width = math.isqrt(vocab - 1) + 1
  blocks = -(-vocab // width)
  mass = jnp.pad(jnp.exp(scaled - top), ((0, 0), (0, blocks * width - vocab))).reshape(slots, blocks, width)

  block_mass = mass.sum(-1)
  upper = jnp.cumsum(block_mass, axis=-1)
  total = upper[:, -1]
  target = uniform * total
  block = jnp.minimum(jnp.sum(upper <= target[:, None], axis=-1), blocks - 1)
  inner = jnp.take_along_axis(mass, block[:, None, None], axis=1)[:, 0]
  below = jnp.take_along_axis(upper - block_mass, block[:, None], axis=1)
  offset = jnp.sum(jnp.cumsum(inner, axis=-1) <= target[:, None] - below, axis=-1)
  # Rounding can carry the target past the block's sum: stay on the last token that has any mass.
  last = width - 1 - jnp.argmax(inner[:, ::-1] > 0, axis=-1)
  sampled = block * width + jnp.minimum(offset, last)

  token = jnp.where(greedy, jnp.argmax(logits, axis=-1), sampled).astype(jnp.int32)
  logprob = jnp.take_along_axis(scaled - top, token[:, None], axis=1)[:, 0] - jnp.log(total)
  return token, logprob
