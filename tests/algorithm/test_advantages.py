"""Advantages compared with values worked by hand."""

import numpy as np
import pytest

from srpo_jax.algorithm.advantages import group_advantages, no_correct_weight


def advantages(rewards, judged=None, truncated=None, scale="std"):
  rewards = np.array(rewards, np.float64)
  judged = np.ones(rewards.shape, bool) if judged is None else np.array(judged)
  truncated = np.zeros(rewards.shape, bool) if truncated is None else np.array(truncated)
  return group_advantages(rewards, judged, truncated, scale=scale)


def test_population_std():
  # mean 0.5, population std 0.5 (the sample std would be 0.577 and give 0.866)
  np.testing.assert_allclose(advantages([[1.0, 0.0, 1.0, 0.0]]), [[1, -1, 1, -1]], rtol=3e-6)
  # mean 0.4, variance (0.7^2 + 2 * 0.3^2 + 0.1^2) / 4 = 0.17
  expected = np.array([0.7, -0.3, -0.3, -0.1]) / np.sqrt(0.17)
  np.testing.assert_allclose(advantages([[1.1, 0.1, 0.1, 0.3]])[0], expected, rtol=1e-5)


def test_eps_is_1e_6():
  np.testing.assert_allclose(advantages([[2e-6, 0.0]]), [[0.5, -0.5]], rtol=1e-5)  # std 1e-6, divisor 2e-6


def test_groups_are_independent():
  both = advantages([[1.0, 0.0, 0.0], [0.1, 0.0, 0.1]])
  np.testing.assert_array_equal(both[:1], advantages([[1.0, 0.0, 0.0]]))
  np.testing.assert_array_equal(both[1:], advantages([[0.1, 0.0, 0.1]]))


@pytest.mark.parametrize("value", [0.0, 0.1, 1.1, 1 / 3])
@pytest.mark.parametrize("scale", ["std", "none", 0.2])
def test_equal_rewards_give_exact_zeros(value, scale):
  np.testing.assert_array_equal(advantages([[value] * 7], scale=scale), np.zeros((1, 7)))


def test_truncated_counts_in_the_statistics_and_gets_zero():
  out = advantages([[1.0, 1.0, 0.0, 0.0]], truncated=[[False, False, False, True]])
  np.testing.assert_allclose(out, [[1, 1, -1, 0]], rtol=3e-6)


def test_not_judged_leaves_the_statistics():
  out = advantages([[1.0, 0.0, np.nan]], judged=[[True, True, False]])
  np.testing.assert_allclose(out, [[1, -1, 0]], rtol=3e-6)
  assert np.isfinite(out).all()
  np.testing.assert_array_equal(advantages([[1.0, np.nan]], judged=[[True, False]]), [[0, 0]])
  np.testing.assert_array_equal(advantages([[np.nan, np.nan]], judged=[[False, False]]), [[0, 0]])


def test_scales():
  rewards = [[0.1, 0.0, 0.1, 0.0]]  # std 0.05
  np.testing.assert_allclose(advantages(rewards, scale="none"), [[0.05, -0.05, 0.05, -0.05]], rtol=1e-6)
  np.testing.assert_allclose(advantages(rewards, scale=0.25), [[0.2, -0.2, 0.2, -0.2]], rtol=1e-6)
  np.testing.assert_allclose(advantages(rewards, scale=0.01), [[1, -1, 1, -1]], rtol=1e-6)


def test_no_correct_weight():
  weights = np.array([[1.0, -1.0], [0.5, -0.5], [0.0, 0.0]])
  correct = np.array([[True, False], [False, False], [False, False]])
  assert no_correct_weight(weights, correct) == pytest.approx(1 / 3)
  assert no_correct_weight(np.zeros((2, 2)), correct[:2]) == 0.0
