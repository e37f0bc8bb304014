"""Attention in rows whose responses share a prompt, in plain XLA.

Such a row holds one or more prompts, each followed by some of its responses. A prompt's token sees the prompt up to
itself. A response's token sees its whole prompt and its own response up to itself. The hidden states are those of rows
that each repeat the prompt before one response.

Axes: B rows, T tokens of a row, H query heads, N key/value heads, D features of a head, P prompt columns of a row,
S responses of a row, R columns of a response.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from srpo_jax.model.kernels.mask import attention_mask
from srpo_jax.model.xla_attention import masked_attention, xla_attention
from srpo_jax.utils.arrays import Array


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SharedPrompts:
  """Layout of rows whose responses share a prompt. It is part of a compiled program, not an input.

  A grid is a row with one prompt in its first columns, padded to `prompt`, and then responses, each padded to
  `response`. No score between two responses is computed in it. In rows of any other form both numbers are 0.
  """

  prompt: int = 0
  response: int = 0

  def responses(self, columns: int) -> int:
    """Returns the number of responses in a row of a grid with so many columns, or 1 for rows of any other form."""
    return (columns - self.prompt) // self.response if self.response else 1


def shared_prompt_attention(
  q: Float[Array, " B T H D"],
  k: Float[Array, " B T N D"],
  v: Float[Array, " B T N D"],
  segments: Int[Array, " B T"],
  response: Int[Array, " B T"],
  layout: SharedPrompts,
) -> Float[Array, " B T H D"]:
  """Returns the attention of every token to its prompt and to its own response, with the softmax in fp32.

  Args:
    segments: number of the token's prompt within its row, from 1; 0 is padding.
    response: number of the token's response within its row, from 1; 0 for prompts and padding.
  """
  if layout.prompt:
    return _grid_attention(q, k, v, segments, layout)
  return masked_attention(q, k, v, attention_mask(segments, response))


def _grid_attention(q: Array, k: Array, v: Array, segments: Array, grid: SharedPrompts) -> Array:
  """Computes `shared_prompt_attention` for a grid: one causal square for the prompt, and one block per response."""
  rows, columns = q.shape[0], grid.response

  def prompt(x: Array) -> Array:  # [B, P + S R, ...] -> [B, P, ...]
    return x[:, : grid.prompt]

  def blocks(x: Array) -> Array:  # [B, P + S R, ...] -> [B S, R, ...]
    return x[:, grid.prompt :].reshape(-1, columns, *x.shape[2:])

  def with_prompt(x: Array) -> Array:  # [B, P + S R, ...] -> [B S, P + R, ...]
    own = blocks(x)
    return jnp.concatenate([jnp.repeat(prompt(x), len(own) // rows, axis=0), own], axis=1)

  of_prompt = xla_attention(prompt(q), prompt(k), prompt(v), prompt(segments))
  own = attention_mask(blocks(segments))
  filled = jnp.repeat(prompt(segments) > 0, len(own) // rows, axis=0)[:, None]
  mask = jnp.concatenate([jnp.broadcast_to(filled, (len(own), columns, grid.prompt)), own], axis=2)
  of_responses = masked_attention(blocks(q), with_prompt(k), with_prompt(v), mask)
  return jnp.concatenate([of_prompt, of_responses.reshape(rows, -1, *q.shape[2:])], axis=1)
