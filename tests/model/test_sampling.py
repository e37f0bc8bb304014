"""The draw against a plain inverse CDF, and the derivation of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.model.sampling import Purpose, draw, prompt_key, uniforms


@pytest.mark.parametrize("vocab", [2, 7, 384, 1000])
def test_draw_is_the_inverse_cdf(vocab):
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 3, (500, vocab)).astype(np.float32)
  uniform = rng.random(500).astype(np.float32)
  temperature = rng.choice([0.5, 1.0, 2.0], 500).astype(np.float32)
  token, logprob = draw(logits, uniform, temperature)
  p = np.exp(logits.astype(np.float64) / temperature[:, None])
  p /= p.sum(1, keepdims=True)
  upper = np.cumsum(p, axis=1)
  row = np.arange(500)
  assert (uniform <= upper[row, token] + 1e-5).all() and (uniform >= (upper - p)[row, token] - 1e-5).all()
  np.testing.assert_allclose(logprob, np.log(p[row, token]), atol=1e-5)


def test_no_draw_of_a_token_without_mass():
  logits = np.full((3, 384), -np.inf, np.float32)
  logits[:, [5, 200]] = 0.0
  token, _ = draw(logits, np.array([0.0, 0.499, np.nextafter(np.float32(1), np.float32(0))], np.float32), np.ones(3))
  assert token.tolist() == [5, 5, 200]


def test_temperature_zero_is_greedy():
  logits = np.random.default_rng(1).normal(size=(50, 90)).astype(np.float32)
  token, logprob = draw(logits, np.zeros(50, np.float32), np.zeros(50, np.float32))
  np.testing.assert_array_equal(token, logits.argmax(1))
  np.testing.assert_allclose(logprob, jax.nn.log_softmax(logits).max(1), atol=1e-5)


def test_every_part_of_a_key_matters():
  parts = [(0, Purpose.TRAIN, 0, "a"), (1, Purpose.TRAIN, 0, "a"), (0, Purpose.EVAL, 0, "a"),
           (0, Purpose.TRAIN, 1, "a"), (0, Purpose.TRAIN, 0, "b")]  # fmt: skip
  keys = [jax.random.fold_in(prompt_key(*p), sample) for p in parts for sample in (0, 1)]
  draws = [float(u) for key in keys for u in uniforms(jnp.stack([key, key]), jnp.arange(2))]
  assert len(set(draws)) == len(draws) == 20
  assert draws == [float(u) for key in keys for u in uniforms(jnp.stack([key, key]), jnp.arange(2))]
