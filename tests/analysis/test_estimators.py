"""The estimators compared with brute force over every subset of the samples and every resample of the problems."""

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from srpo_jax.analysis.estimators import estimates, majority_at_ks, pass_at_ks, powers_up_to, wilson


def mean(values) -> Fraction:
  values = list(values)
  return Fraction(sum(values), 1) / len(values)


def wins(votes) -> Fraction:
  """Returns 1 if the correct answer (0) has the most votes, 1/t if it ties with others among t answers, else 0."""
  counts = Counter(vote for vote in votes if vote is not None)
  most = max(counts.values(), default=0)
  best = [vote for vote, count in counts.items() if count == most]
  return Fraction(1, len(best)) if 0 in best else Fraction(0)


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one(n):
  ks = range(1, n + 1)
  brute = [
    [float(mean(any(subset) for subset in itertools.combinations([1] * c + [0] * (n - c), k))) for k in ks]
    for c in range(n + 1)
  ]
  np.testing.assert_allclose(pass_at_ks(np.arange(n + 1), n, ks), brute, rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(40))
def test_majority_at_k_is_the_vote_over_every_subset(seed):
  rng = np.random.default_rng(seed)
  n, answers = int(rng.integers(1, 10)), int(rng.integers(1, 6))
  votes = [None if vote == answers else int(vote) for vote in rng.integers(0, answers + 1, n)]
  ks = range(1, n + 1)
  assert majority_at_ks(votes, ks) == [float(mean(map(wins, itertools.combinations(votes, k)))) for k in ks]


def test_majority_by_hand():
  assert majority_at_ks([0, 0, 0, 1, 1], [1, 5]) == [0.6, 1.0]
  assert majority_at_ks([0, 1, 1, None], [1, 4]) == [0.25, 0.0]
  assert majority_at_ks([0, 1, 2, None], [4]) == [1 / 3]  # a tie of three
  assert majority_at_ks([None, None], [1, 2]) == [0.0, 0.0]  # no response votes
  assert majority_at_ks([0] + [None] * 31, [32]) == [1.0]  # one vote is enough if no other response votes


def test_majority_of_many_samples_stays_exact():
  """Checks 64 samples, 60 of them split between two wrong answers. A double cannot hold the exact counts."""
  votes = [0] * 4 + [1] * 30 + [2] * 30
  at_1, at_64 = majority_at_ks(votes, [1, 64])
  assert (at_1, at_64) == (1 / 16, 0.0)
  flipped = majority_at_ks([0] * 30 + [1] * 30 + [2] * 4, [64])
  assert flipped == [0.5]


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_beyond_the_samples_is_an_error(k):
  """Expects an error rather than NaN, which JSON cannot represent and which would spoil every mean."""
  with pytest.raises(ValueError, match=f"k 1, {k}: expected each from 1 to the 4 responses"):
    pass_at_ks(np.array([2]), 4, [1, k])
  with pytest.raises(ValueError, match=f"k 1, {k}: expected each from 1 to the 4 responses"):
    majority_at_ks([0, 0, 1, None], [1, k])


def test_the_ks():
  assert [powers_up_to(n) for n in (1, 4, 6, 32)] == [(1,), (1, 2, 4), (1, 2, 4, 6), (1, 2, 4, 8, 16, 32)]


def test_the_bootstrap_finds_the_quantiles_of_every_resample():
  """Compares the bootstrap with all 4^4 equally likely resamples of four problems."""
  values = np.array([[0.0, 10.0], [0.25, 40.0], [0.75, 20.0], [1.0, 90.0]])
  exact = np.array([values[list(drawn)].mean(axis=0) for drawn in itertools.product(range(4), repeat=4)])
  for level in (0.5, 0.8, 0.95):
    found = estimates(values, level=level, resamples=100_000)
    for column, estimate in enumerate(found):
      assert estimate.value == values[:, column].mean()
      # The distribution is discrete, so the sampled quantile lies between the exact ones just beside the level.
      for bound, at in ((estimate.low, (1 - level) / 2), (estimate.high, (1 + level) / 2)):
        low, high = np.quantile(exact[:, column], [max(at - 0.01, 0), min(at + 0.01, 1)])
        assert low - 1e-9 <= bound <= high + 1e-9, (level, column)


def test_the_interval_is_normal_for_many_problems():
  values = np.random.default_rng(1).random((2000, 1))
  (found,) = estimates(values)
  half = 1.96 * values.std() / np.sqrt(2000)
  np.testing.assert_allclose([found.value - found.low, found.high - found.value], half, rtol=0.05)


def test_an_interval_depends_only_on_the_seed():
  values = np.random.default_rng(2).random((50, 3))
  assert estimates(values) == estimates(values) != estimates(values, seed=1)
  (alone,), (first, *_) = estimates(values[:, :1]), estimates(values)  # all columns use the same resamples
  assert alone.low == pytest.approx(first.low, rel=1e-12) and alone.high == pytest.approx(first.high, rel=1e-12)
  (flat,) = estimates(np.full((7, 1), 0.5))
  assert (flat.low, flat.value, flat.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (7, 7), (74, 256), (130, 256)])
def test_the_ends_of_a_wilson_interval_are_the_shares_that_a_z_test_just_accepts(successes, n):
  found = wilson(successes, n)
  assert found.value == successes / n and 0 <= found.low <= found.value <= found.high <= 1
  for end in (found.low, found.high):
    if 0 < end < 1:
      assert abs(found.value - end) / np.sqrt(end * (1 - end) / n) == pytest.approx(1.959964, abs=1e-6)
  if successes == 0:
    assert found.low == pytest.approx(0, abs=1e-12)


def test_a_published_wilson_interval():
  """Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I: 81 of 263."""
  found = wilson(81, 263)
  assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (0, 0), (-1, 4), (5, 4)])
def test_a_share_of_nothing_is_an_error(successes, n):
  with pytest.raises(ValueError, match=f"{successes} successes of {n}"):
    wilson(successes, n)
