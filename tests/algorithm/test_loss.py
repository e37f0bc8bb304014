"""The loss against hand-worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.algorithm.loss import importance_weight, policy_loss

LOW, HIGH = 0.2, 0.3


def loss(ratio, advantage, in_loss=None, n=None, weight=1.0):
  """policy_loss for given probability ratios, on old log-probs of -1."""
  ratio = np.array([ratio], np.float32)
  in_loss = np.ones(ratio.shape, bool) if in_loss is None else np.array([in_loss])
  old = -np.ones_like(ratio)
  return policy_loss(
    old + np.log(ratio),
    old,
    np.array([advantage], np.float32),
    in_loss,
    np.float32(n or in_loss.sum()),
    clip_low=LOW,
    clip_high=HIGH,
    weight=weight,
  )


@pytest.mark.parametrize(
  ("ratio", "advantage", "objective", "held"),
  [
    (1.0, 2.0, 2.0, 0),
    (1.2, 2.0, 2.4, 0),
    (1.5, 2.0, 2.6, 1),  # 1.3 * 2
    (0.5, 2.0, 1.0, 0),  # below the range with a positive advantage: the smaller, unclipped, value stands
    (0.5, -2.0, -1.6, 1),  # 0.8 * -2
    (1.5, -2.0, -3.0, 0),
  ],
)
def test_clip(ratio, advantage, objective, held):
  value, clipped = loss([ratio], [advantage])
  assert float(value) == pytest.approx(-objective, rel=1e-5)
  assert float(clipped) == held


def test_denominator_counts_all_tokens_of_the_whole_batch():
  # Two tokens here with advantages 1 and 0, of ten in the batch.
  assert float(loss([1.0, 1.0], [1.0, 0.0], n=10)[0]) == pytest.approx(-0.1)


def test_tokens_out_of_the_loss_add_nothing_whatever_they_hold():
  value, clipped = policy_loss(
    np.array([[-1.0, np.inf, -1.0]], np.float32),
    np.array([[-1.0, -np.inf, np.nan]], np.float32),
    np.array([[3.0, 5.0, 7.0]], np.float32),
    np.array([[True, False, False]]),
    np.float32(1),
    clip_low=LOW,
    clip_high=HIGH,
  )
  assert (float(value), float(clipped)) == (-3.0, 0.0)


def test_on_policy_gradient_is_that_of_advantage_times_logprob():
  logprob, advantage = jnp.array([[-0.5, -2.0, -1.0]]), np.array([[1.0, -2.0, 0.0]], np.float32)

  def on_policy(logprob):
    old = jax.lax.stop_gradient(logprob)
    return policy_loss(logprob, old, advantage, np.ones((1, 3), bool), 3.0, clip_low=LOW, clip_high=HIGH)[0]

  np.testing.assert_allclose(jax.grad(on_policy)(logprob), -advantage / 3, rtol=1e-6)
  assert float(on_policy(logprob)) == pytest.approx(1 / 3)


def test_importance_weight():
  old, sampler = jnp.log(jnp.array([[0.2, 0.2, 0.9]])), jnp.log(jnp.array([[0.4, 0.2, 0.3]]))
  np.testing.assert_allclose(importance_weight(old, sampler, 2.0), [[0.5, 1.0, 2.0]], rtol=1e-5)
  gradient = jax.grad(lambda old: importance_weight(old, sampler, 2.0).sum())(old)
  np.testing.assert_array_equal(gradient, np.zeros((1, 3)))
  assert float(loss([1.0, 1.0], [1.0, 1.0], weight=np.array([[0.5, 2.0]], np.float32))[0]) == pytest.approx(-1.25)
