"""Compares the draw with a plain inverse CDF, and tests the derivation of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.model.sampling import Purpose, draw, in_nucleus, prompt_key, uniforms


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


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.9, 0.999])
def test_the_nucleus_is_what_a_sort_gives(top_p):
  logits = np.random.default_rng(3).normal(0, 3, (200, 500)).astype(np.float32)
  mass = np.exp(logits - logits.max(1, keepdims=True))
  found = np.asarray(in_nucleus(mass, top_p))
  for row, inside in zip(mass.astype(np.float64), found, strict=True):
    order = np.argsort(-row)
    held = np.cumsum(row[order]) / row.sum()
    n = int(np.searchsorted(held, top_p)) + 1  # the fewest likeliest tokens that hold top_p
    if np.abs(held - top_p).min() > 1e-6:  # nearer than this, rounding may decide
      assert set(np.flatnonzero(inside)) == set(order[:n])


def test_equal_tokens_are_in_the_nucleus_together():
  mass = np.array([[1.0, 0.5, 0.5, 0.5, 0.25], [1.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
  found = np.asarray(in_nucleus(mass, 0.4))
  assert found.tolist() == [[True, True, True, True, False], [True, False, False, False, False]]


def test_draws_of_a_nucleus_follow_its_own_distribution():
  rng = np.random.default_rng(4)
  logits = np.tile(rng.normal(0, 2, 40).astype(np.float32), (4000, 1))
  token, logprob = draw(logits, rng.random(4000).astype(np.float32), np.full(4000, 0.7, np.float32), 0.8)
  p = np.exp(logits[0].astype(np.float64) / 0.7)
  p /= p.sum()
  order = np.argsort(-p)
  inside = order[: int(np.searchsorted(np.cumsum(p[order]), 0.8)) + 1]
  assert set(np.unique(token)) == set(inside) and len(inside) < 20
  own = np.where(np.isin(np.arange(40), inside), p, 0)
  own /= own.sum()
  np.testing.assert_allclose(np.bincount(token, minlength=40) / 4000, own, atol=0.03)
  np.testing.assert_allclose(logprob, np.log(own[token]), atol=1e-5)


def test_at_top_p_1_nothing_is_compiled_for_it():
  """Training's draws stay the same, because the program has no trace of a nucleus."""
  shapes = jnp.zeros((3, 50)), jnp.zeros(3), jnp.ones(3)
  plain, whole = (str(jax.make_jaxpr(lambda *a, p=p: draw(*a, *p))(*shapes)) for p in ((), (1.0,)))
  assert plain == whole and "bitcast" not in plain
  assert "bitcast" in str(jax.make_jaxpr(lambda *a: draw(*a, 0.5))(*shapes))
