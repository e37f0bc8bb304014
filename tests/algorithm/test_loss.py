"""The loss compared with values worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.algorithm.loss import importance_weight, policy_loss, response_sum
from tests.helpers.losses import make_inputs

LOW, HIGH = 0.2, 0.3


def loss(ratio, advantage, in_loss=None, n=None, sampler=1.0, cap=0.0):
  """Returns the policy loss and the number of clipped tokens for probability ratios on old log-probs of -1.

  The sampler's log-probs are lower than the old ones by log(`sampler`).
  """
  old = -np.ones((1, len(ratio)), np.float32)
  inputs = make_inputs(
    old + np.log(np.array([ratio], np.float32)),
    old,
    [advantage],
    None if in_loss is None else [in_loss],
    n,
    sampler_logprob=jnp.asarray(old - np.log(np.float32(sampler))),
  )
  value, clipped = policy_loss(inputs, clip_low=LOW, clip_high=HIGH, importance_cap=cap)
  return value, clipped.sum()


@pytest.mark.parametrize(
  ("ratio", "advantage", "objective", "n_clipped"),
  [
    (1.0, 2.0, 2.0, 0),
    (1.2, 2.0, 2.4, 0),
    (1.5, 2.0, 2.6, 1),  # 1.3 * 2
    (0.5, 2.0, 1.0, 0),  # below the range with a positive advantage, where the unclipped value is smaller and counts
    (0.5, -2.0, -1.6, 1),  # 0.8 * -2
    (1.5, -2.0, -3.0, 0),
  ],
)
def test_clip(ratio, advantage, objective, n_clipped):
  value, clipped = loss([ratio], [advantage])
  assert float(value) == pytest.approx(-objective, rel=1e-5)
  assert int(clipped) == n_clipped


def test_denominator_counts_all_tokens_of_the_whole_batch():
  # Two of the batch's ten tokens are here. Their advantages are 1 and 0.
  assert float(loss([1.0, 1.0], [1.0, 0.0], n=10)[0]) == pytest.approx(-0.1)


def test_tokens_outside_the_loss_add_nothing_whatever_they_hold():
  inputs = make_inputs([[-1.0, np.inf, -1.0]], [[-1.0, -np.inf, np.nan]], [[3.0, 5.0, 7.0]], [[True, False, False]], 1)
  value, clipped = policy_loss(inputs, clip_low=LOW, clip_high=HIGH)
  assert (float(value), int(clipped.sum())) == (-3.0, 0)


def test_on_policy_gradient_equals_that_of_advantage_times_logprob():
  logprob, advantage = jnp.array([[-0.5, -2.0, -1.0]]), np.array([[1.0, -2.0, 0.0]], np.float32)

  def on_policy(logprob):
    old = jax.lax.stop_gradient(logprob)
    return policy_loss(make_inputs(logprob, old, advantage), clip_low=LOW, clip_high=HIGH).loss

  np.testing.assert_allclose(jax.grad(on_policy)(logprob), -advantage / 3, rtol=1e-6)
  assert float(on_policy(logprob)) == pytest.approx(1 / 3)


def test_importance_weight():
  old, sampler = jnp.log(jnp.array([[0.2, 0.2, 0.9]])), jnp.log(jnp.array([[0.4, 0.2, 0.3]]))
  np.testing.assert_allclose(importance_weight(old, sampler, 2.0), [[0.5, 1.0, 2.0]], rtol=1e-5)
  gradient = jax.grad(lambda old: importance_weight(old, sampler, 2.0).sum())(old)
  np.testing.assert_array_equal(gradient, np.zeros((1, 3)))
  # The weights are 1/2 and 8. The cap reduces 8 to 2, so the mean is (0.5 + 2) / 2.
  assert float(loss([1.0, 1.0], [1.0, 1.0], sampler=[0.5, 8.0], cap=2.0)[0]) == pytest.approx(-1.25)


def test_response_sum():
  values = jnp.array([[1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 5.0]])
  response = jnp.array([[1, 1, 2, 0], [1, 1, 1, 0]])
  np.testing.assert_array_equal(response_sum(values, response), [[3, 3, 4, 0], [3, 3, 3, 0]])
