"""Array type for annotations. It is JAX's inside compiled code, and may be NumPy's where the host calls it."""

import typing

import jax
import numpy as np

if typing.TYPE_CHECKING:
  from jax import Array as Array  # type checkers need its operations
else:
  Array = jax.Array | np.ndarray
