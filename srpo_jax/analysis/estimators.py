"""Estimates pass@k and majority@k from n samples of each problem, and the interval of a mean over problems.

Both are expectations over a uniformly random k-subset of a problem's n samples. They are computed in closed form, so
that subsampling adds no noise:

    pass@k      the chance that some response of the subset is correct (see `data.difficulty.pass_at_k`)
    majority@k  the chance that the correct answer wins a vote over the subset's answers. A tie of t answers counts as
                1/t. Responses without an answer do not vote, and a subset without a vote is lost.

A mean over problems has a 95 % interval by the percentile bootstrap (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, ch. 13). It resamples problems with replacement, each with all its samples, since a model's samples
of one problem are not independent of each other. If all problems have the same value, the interval has zero width,
because the bootstrap cannot see variation that the set does not have.

A share of independent yes-or-no outcomes, one sample for each problem, has the Wilson score interval (Wilson, Probable
Inference, the Law of Succession, and Statistical Inference, 1927). It keeps its coverage for shares near 0 and 1.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

from srpo_jax.data.difficulty import pass_at_k

LEVEL = 0.95
RESAMPLES = 10_000
_CHUNK = 1_000  # number of resamples in memory at a time


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over problems, or a share of outcomes, and the ends of its interval."""

  value: float
  low: float
  high: float


def powers_up_to(n: int) -> tuple[int, ...]:
  """Returns 1, 2, 4, ... up to n, and n itself.

  >>> powers_up_to(6)
  (1, 2, 4, 6)
  """
  return tuple(sorted({1 << i for i in range(n.bit_length())} | {n}))


def pass_at_ks(correct: Int[np.ndarray, " problems"], n: int, ks: Sequence[int]) -> Float[np.ndarray, " problems ks"]:
  """Returns pass@k of each problem for each k.

  Args:
    correct: number of correct responses to each problem.
    n: number of responses to each problem.

  Raises:
    ValueError: some k is not between 1 and n.
  """
  _check_ks(ks, n)
  table = np.array([[pass_at_k(n, c, k) for k in ks] for c in range(n + 1)], np.float64)
  return table[np.asarray(correct)]


def majority_at_ks(votes: Sequence[int | None], ks: Sequence[int]) -> list[float]:
  """Returns majority@k of one problem for each k.

  >>> majority_at_ks([0, 0, 1, None], [1, 2, 4])  # three of the 6 pairs are won, two tie, one is lost
  [0.5, 0.6666666666666666, 1.0]

  Args:
    votes: vote of each response: 0 for the correct answer, another number for each wrong one, None for no answer.

  Raises:
    ValueError: some k is not between 1 and the number of responses.
  """
  _check_ks(ks, len(votes))
  counts = {vote: list(votes).count(vote) for vote in set(votes)}
  correct, silent = counts.pop(0, 0), counts.pop(None, 0)
  wrong = tuple(sorted(counts.values()))
  return [_majority(correct, wrong, silent, k) for k in ks]


def _check_ks(ks: Sequence[int], n: int) -> None:
  if not all(1 <= k <= n for k in ks):
    raise ValueError(f"k {', '.join(map(str, ks))}: expected each from 1 to the {n} responses")


@functools.lru_cache(maxsize=65_536)
def _majority(correct: int, wrong: tuple[int, ...], silent: int, k: int) -> float:
  """Returns majority@k, by counting for each v the k-subsets with v correct votes and no wrong answer with more.

  For each v and each number t of wrong answers that tie, there is a polynomial in x. Its coefficient of x^d counts the
  ways to take d responses that are not correct. A wrong answer with fewer than v responses can neither win nor tie, so
  its responses are taken freely, like those without an answer.

  Args:
    correct: number of correct responses.
    wrong: number of responses with each wrong answer.
    silent: number of responses without an answer.
  """
  won = Fraction(0)
  for v in range(1, min(correct, k) + 1):
    rest = k - v
    free = silent + sum(size for size in wrong if size < v)
    ties = [np.array([math.comb(free, d) for d in range(rest + 1)], object)]
    for size in (size for size in wrong if size >= v):
      fewer = np.array([math.comb(size, i) for i in range(v)], object)
      lost = [np.convolve(ways, fewer)[: rest + 1] for ways in ties]
      tied = [np.concatenate([np.zeros(v, object), ways])[: rest + 1] * math.comb(size, v) for ways in ties]
      none = np.zeros(rest + 1, object)
      ties = [a + b for a, b in zip([*lost, none], [none, *tied], strict=True)]
    won += math.comb(correct, v) * sum(Fraction(int(ways[rest]), t + 1) for t, ways in enumerate(ties))
  return float(won / math.comb(correct + sum(wrong) + silent, k))


def estimates(
  values: Float[np.ndarray, " problems metrics"], *, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES
) -> list[Estimate]:
  """Returns the mean of each column over problems, with its interval. All columns use the same resamples.

  Args:
    values: finite values of at least one problem.
    seed: random seed of the resamples.
    level: coverage of the interval.
  """
  n = len(values)
  means = [draws @ values / n for draws in _draws(np.random.default_rng(seed), n, resamples)]
  low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2], axis=0)
  return [Estimate(*map(float, found)) for found in zip(values.mean(axis=0), low, high, strict=True)]


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
  """Returns the share of successes in n independent outcomes, with its Wilson score interval.

  >>> [round(bound, 3) for bound in dataclasses.astuple(wilson(8, 10))]
  [0.8, 0.49, 0.943]

  Raises:
    ValueError: there is no outcome, or more successes than outcomes.
  """
  if not 0 <= successes <= n or not n:
    raise ValueError(f"{successes} successes of {n}, expected 0 to n successes of at least one outcome")
  z = NormalDist().inv_cdf((1 + level) / 2)
  share, shrink = successes / n, 1 + z * z / n
  centre = (share + z * z / (2 * n)) / shrink
  half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
  return Estimate(share, max(centre - half, 0.0), min(centre + half, 1.0))


def _draws(rng: np.random.Generator, n: int, resamples: int) -> Iterator[np.ndarray]:
  """Yields chunks of the counts [resamples, n] of each problem in each resample."""
  for start in range(0, resamples, _CHUNK):
    yield rng.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - start)).astype(np.float64)
