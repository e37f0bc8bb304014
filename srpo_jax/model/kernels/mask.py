"""The mask of attention over padded or packed rows.

Axes: B rows, T tokens of a row.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Int

from srpo_jax.utils.arrays import Array


def attention_mask(segments: Int[Array, " B T"]) -> Bool[Array, " B T T"]:
  """True where query i (second axis) may look at key j: same segment, j <= i. Segment 0 is padding.

  Padding looks only at padding, so a row's real tokens never depend on how much padding it has or on which side.
  """
  same = segments[:, :, None] == segments[:, None, :]
  return same & jnp.tril(jnp.ones(same.shape[-2:], bool))
