"""pass@k compared with all subsets, labels at their bounds, and selections counted by hand."""

import doctest
import itertools
import math

import numpy as np
import pytest

from srpo_jax.data import difficulty
from srpo_jax.data.difficulty import LABELS, label, pass_at_k, row_label, select
from srpo_jax.utils.errors import InputError


@pytest.mark.parametrize(
  "n, c, k, expected",
  [
    (1, 0, 1, 0.0),
    (1, 1, 1, 1.0),
    (4, 1, 2, 0.5),
    (4, 2, 2, 5 / 6),
    (16, 4, 1, 0.25),
    (16, 1, 16, 1.0),
    (16, 0, 16, 0.0),
    (5, 3, 3, 1.0),
    (16, 2, 4, 1 - 1001 / 1820),  # C(14, 4) = 1001, C(16, 4) = 1820
  ],
)
def test_pass_at_k_by_hand(n, c, k, expected):
  assert pass_at_k(n, c, k) == pytest.approx(expected, rel=1e-15)


def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one():
  for n in range(1, 8):
    for c in range(n + 1):
      for k in range(1, n + 1):
        subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(np.mean([any(s) for s in subsets]), abs=1e-15)


def test_pass_at_k_is_unbiased():
  """Checks that the mean over binomial c is the true 1 - (1 - p)^k. The plain 1 - (1 - c / n)^k is biased."""
  n, k, p = 10, 4, 0.2
  chance = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
  assert sum(q * pass_at_k(n, c, k) for c, q in enumerate(chance)) == pytest.approx(1 - (1 - p) ** k, rel=1e-12)


def test_pass_at_k_at_its_limits():
  assert pass_at_k(3, 3, 4) is None and pass_at_k(0, 0, 1) is None
  assert 0 < pass_at_k(5000, 1, 1) < pass_at_k(5000, 2, 1) < 1  # no overflow of factorials
  for n, c, k in ((3, 4, 1), (3, -1, 1), (3, 1, 0)):
    with pytest.raises(ValueError):
      pass_at_k(n, c, k)


def test_doctest():
  assert doctest.testmod(difficulty).attempted == 2 and doctest.testmod(difficulty).failed == 0


@pytest.mark.parametrize(
  "rate, expected",
  [
    (0, "unsolved"),
    (1e-9, "hard"),
    (0.25, "hard"),
    (0.2500001, "medium"),
    (0.5, "medium"),
    (0.75, "medium"),
    (0.7500001, "easy"),
    (15 / 16, "easy"),
    (1, "solved"),
  ],
)
def test_labels(rate, expected):
  assert label(rate) == expected


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_no_label_outside_0_to_1(rate):
  with pytest.raises(InputError, match="pass_rate"):
    label(rate)


def test_a_measured_rate_outranks_a_sets_own_difficulty():
  assert row_label("easy", 0.0) == "unsolved"
  assert row_label("Level 5", 1.0) == "solved"
  assert row_label("hard", None) == "hard"
  assert row_label("Level 5", None) is None and row_label(None, None) is None


def rows(**counts):
  labels = [name for name, count in counts.items() for _ in range(count)]
  return [None if name == "none" else name for name in labels], [f"id{i}" for i in range(len(labels))]


def counts(labels, chosen):
  return {name: sum(1 for a, b in zip(labels, chosen, strict=True) if b and a == name) for name in set(labels)}


STAGE_1 = {"easy": 0.0, "solved": 0.0}


@pytest.mark.parametrize(
  "have, keep, cap, left",
  [
    # 10 other rows stay. m unsolved rows need m / (m + 10) <= 0.3, so m = 4 (4 / 14 = 0.286; 5 / 15 = 0.333)
    ({"unsolved": 9, "hard": 4, "medium": 6, "easy": 5, "solved": 7}, STAGE_1, 0.3, (4, 4, 6, 0, 0)),
    # exactly at the cap: 3 / (3 + 7) = 0.3
    ({"unsolved": 9, "hard": 7}, STAGE_1, 0.3, (3, 7, 0, 0, 0)),
    # fewer unsolved rows than the cap allows, so all stay
    ({"unsolved": 2, "hard": 7}, STAGE_1, 0.3, (2, 7, 0, 0, 0)),
    ({"unsolved": 9, "hard": 1}, STAGE_1, 1.0, (9, 1, 0, 0, 0)),
    ({"unsolved": 9, "hard": 1}, STAGE_1, 0.0, (0, 1, 0, 0, 0)),
    # no other row stays, so no unsolved row can stay
    ({"unsolved": 9, "easy": 5}, STAGE_1, 0.3, (0, 0, 0, 0, 0)),
    # shares are rounded to the nearest row: 2.5 -> 3, 1.5 -> 2, 0.25 * 5 = 1.25 -> 1
    ({"medium": 5, "hard": 3, "easy": 5}, {"medium": 0.5, "hard": 0.5, "easy": 0.25}, 0.3, (0, 2, 3, 1, 0)),
    # the cap applies after the share: 0.5 * 8 = 4 unsolved and 4 other rows are exactly half, so all 4 stay
    ({"unsolved": 8, "medium": 4}, {"unsolved": 0.5}, 0.5, (4, 0, 4, 0, 0)),
    ({}, STAGE_1, 0.3, (0, 0, 0, 0, 0)),
  ],
)
def test_selection_by_hand(have, keep, cap, left):
  labels, ids = rows(**have)
  chosen = select(labels, ids, keep=keep, max_unsolved=cap, seed=0)
  assert chosen.dtype == bool and chosen.shape == (len(labels),)
  found = counts(labels, chosen)
  assert tuple(found.get(name, 0) for name in LABELS) == left


def test_rows_without_a_label():
  labels, ids = ["Level 5", None, "hard", "unsolved"], list("abcd")
  assert select(labels, ids, keep={"unlabelled": 0.0}, max_unsolved=1.0, seed=0).tolist() == [False, False, True, True]
  # for the cap they count as rows that are not unsolved: 1 / (1 + 3) = 0.25
  assert select(labels, ids, keep={}, max_unsolved=0.25, seed=0).all()
  assert select(labels, ids, keep={}, max_unsolved=0.24, seed=0).tolist() == [True, True, True, False]


def test_selection_depends_only_on_seed_and_id():
  labels, ids = rows(medium=40, unsolved=40)
  first = select(labels, ids, keep={"medium": 0.5}, max_unsolved=0.3, seed=1)
  assert (first == select(labels, ids, keep={"medium": 0.5}, max_unsolved=0.3, seed=1)).all()
  order = np.random.default_rng(0).permutation(80)
  shuffled = select([labels[i] for i in order], [ids[i] for i in order], keep={"medium": 0.5}, max_unsolved=0.3, seed=1)
  assert (shuffled == first[order]).all()
  assert (first != select(labels, ids, keep={"medium": 0.5}, max_unsolved=0.3, seed=2)).any()
  # a larger share keeps every row that a smaller one kept
  more = select(labels, ids, keep={"medium": 0.75}, max_unsolved=0.3, seed=1)
  assert (more >= first).all() and more.sum() > first.sum()
  # the choice is not a prefix of the rows
  assert not first[:20].all()


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"keep": {"tough": 1.0}}, r"keep\.tough"),
    ({"keep": {"hard": 1.5}}, r"keep\.hard"),
    ({"keep": {"hard": float("nan")}}, r"keep\.hard"),
    ({"max_unsolved": -0.1}, "max_unsolved"),
  ],
)
def test_bad_arguments(changes, message):
  with pytest.raises(InputError, match=message):
    select(["hard"], ["a"], **({"keep": {}, "max_unsolved": 0.3, "seed": 0} | changes))
