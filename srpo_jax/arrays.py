"""The array type of annotations: JAX's own inside compiled code, NumPy's where the host calls it."""

import jax
import numpy as np

Array = jax.Array | np.ndarray
