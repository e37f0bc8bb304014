"""Distance of a draw from another token, which tells a near tie from a fault where two samplers draw differently."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from srpo_jax.model import transformer
from srpo_jax.model.sampling import uniforms
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.types import Rollout
from srpo_jax.utils.arrays import Array
from srpo_jax.utils.rounding import round_up

BUCKET = 64  # tokens to which a text is padded, so that few shapes are compiled


def first_difference(a: Rollout, b: Rollout) -> int | None:
  """Returns the position of the first token that differs between two responses, or None if they are equal."""
  n = min(len(a.tokens), len(b.tokens))
  differ = np.flatnonzero(a.tokens[:n] != b.tokens[:n])
  if len(differ):
    return int(differ[0])
  return None if len(a.tokens) == len(b.tokens) else n


def draw_distance(
  params: Params, config: TransformerConfig, a: Rollout, b: Rollout, *, key: Any, temperature: float
) -> float:
  """Returns how far the first draw that differs between two responses was from giving the same token in both.

  A draw gives the token in whose interval of the CDF its uniform lies. The distance is that of the uniform to the
  farther of the two tokens' intervals. It is 0 for equal responses, and infinite if one only ends earlier.

  Args:
    key: random key of the prompt's group.
    temperature: temperature of both responses. It must not be 0.
  """
  at = first_difference(a, b)
  if at is None:
    return 0.0
  if at == min(len(a.tokens), len(b.tokens)):
    return float("inf")
  p = _probabilities(params, config, [*a.prompt_tokens, *a.tokens[:at]], temperature)
  upper = np.cumsum(p)
  u = float(uniforms(jax.random.fold_in(key, a.sample)[None], jnp.array([at]))[0]) * upper[-1]
  tokens = (int(a.tokens[at]), int(b.tokens[at]))
  return max(max(upper[token] - p[token] - u, u - upper[token], 0.0) for token in tokens)


def _probabilities(params: Params, config: TransformerConfig, tokens: Sequence[int], temperature: float) -> np.ndarray:
  """Returns the float64 probabilities of the token after `tokens`, from the full forward pass."""
  n = len(tokens)
  padded = np.zeros((1, round_up(n, BUCKET)), np.int32)
  padded[0, :n] = tokens
  logits = np.asarray(_last_logits(params, padded, np.int32(n), config), np.float64) / temperature
  p = np.exp(logits - logits.max())
  return p / p.sum()


def _forward(params: Params, tokens: Array, length: Array, config: TransformerConfig) -> Array:
  at = jnp.arange(tokens.shape[1])[None]
  hidden = transformer.forward(params, config, tokens, at, (at < length).astype(jnp.int32))
  return transformer.logits(params, hidden[:, length - 1])[0]


_last_logits = jax.jit(_forward, static_argnames="config")
