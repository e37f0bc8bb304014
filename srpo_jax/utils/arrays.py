"""The array type of annotations: JAX's own inside compiled code, NumPy's where the host calls it."""

import typing

import jax
import numpy as np

if typing.TYPE_CHECKING:
  from jax import Array as Array  # what a type checker needs to know of operations
else:
  Array = jax.Array | np.ndarray
