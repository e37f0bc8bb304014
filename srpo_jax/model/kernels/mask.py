"""Attention mask of padded or packed rows.

Axes: B rows, T tokens of a row.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Int

from srpo_jax.utils.arrays import Array


def attention_mask(segments: Int[Array, " B T"], response: Int[Array, " B T"] | None = None) -> Bool[Array, " B T T"]:
  """Returns True where query i (second axis) may attend to key j: in the same segment, with j <= i.

  Segment 0 is padding. Padding attends only to padding, so a row's real tokens never depend on how much padding it has
  or on which side.

  Args:
    response: number of the token's response within its row, 0 for prompts and padding. A query of a response then
      attends to no other response.
  """
  same = segments[:, :, None] == segments[:, None, :]
  if response is not None:
    same &= (response[:, None, :] == 0) | (response[:, :, None] == response[:, None, :])
  return same & jnp.tril(jnp.ones(same.shape[-2:], bool))
