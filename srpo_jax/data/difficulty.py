"""Difficulty of problems for a policy: pass@k, labels of pass rates, and the choice of rows to train on.

pass@k is the chance that at least one of k responses is correct. With n judged responses of which c are correct, the
unbiased estimator (Chen et al., arXiv 2107.03374, eq. 1) is the share of k-subsets that contain a correct response:

    pass@k = 1 - C(n - c, k) / C(n, k)
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool

from srpo_jax.utils.errors import InputError

LABELS = ("unsolved", "hard", "medium", "easy", "solved")
UNLABELLED = "unlabelled"
EASIEST_FIRST = ("solved", "easy", "medium", "hard", "unsolved")
HARD, MEDIUM = 0.25, 0.75  # the largest pass rates with these labels


def difficulty_rank(name: str) -> tuple[int, str]:
  """Returns a sort key that orders difficulties from solved to unsolved, then all other names alphabetically.

  >>> sorted(["hard", "Level 5", "easy", "medium"], key=difficulty_rank)
  ['easy', 'medium', 'hard', 'Level 5']
  """
  known = name.lower() in EASIEST_FIRST
  return EASIEST_FIRST.index(name.lower()) if known else len(EASIEST_FIRST), name


def pass_at_k(n: int, c: int, k: int) -> float | None:
  """Returns the unbiased estimate of pass@k, or None if fewer than k responses were judged.

  >>> pass_at_k(4, 1, 2)  # of the 6 pairs, 3 hold the correct one
  0.5

  Args:
    n: number of judged responses.
    c: number of correct responses among them.
    k: number of responses drawn, at least 1.

  Raises:
    ValueError: c outside 0 to n, or k below 1.
  """
  if not 0 <= c <= n or k < 1:
    raise ValueError(f"pass@{k} of {c} correct in {n}: expected 0 <= correct <= n and k >= 1")
  if n < k:
    return None
  return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


def label(pass_rate: float) -> str:
  """Returns the label of a pass rate: unsolved (0), hard (up to 0.25), medium (up to 0.75), easy (below 1), solved (1).

  Raises:
    InputError: a pass rate outside 0 to 1.
  """
  if not 0 <= pass_rate <= 1:
    raise InputError(f"pass_rate {pass_rate}: expected a number from 0 to 1")
  if pass_rate == 0:
    return "unsolved"
  if pass_rate == 1:
    return "solved"
  return "hard" if pass_rate <= HARD else "medium" if pass_rate <= MEDIUM else "easy"


def row_label(difficulty: str | None, pass_rate: float | None) -> str | None:
  """Returns the label of a row: that of its measured pass rate, or else its difficulty if it is a label, or else None.

  A measured rate comes first because difficulties such as "Level 5" come from the data set and say nothing about a
  policy.
  """
  if pass_rate is not None:
    return label(pass_rate)
  return difficulty if difficulty in LABELS else None


def select(
  labels: Sequence[str | None], ids: Sequence[str], *, keep: Mapping[str, float], max_unsolved: float, seed: int
) -> Bool[np.ndarray, " rows"]:
  """Chooses the rows to train on.

  A hash of (seed, id) decides which rows of a label stay, so the choice does not depend on the order of the rows.

  Args:
    labels: label of each row; None or any other text counts as `unlabelled`.
    ids: id of each row; all distinct.
    keep: label -> share of its rows to keep, rounded to the nearest row. 0 removes the label. 1 keeps all of its rows,
      and so does leaving the label out.
    max_unsolved: largest share of unsolved rows among the rows that stay; 1 for no cap.
    seed: seed of the hash.

  Returns:
    Mask of the rows that stay. It may be all False.

  Raises:
    InputError: an unknown label in `keep`, or a share out of range.
  """
  _check(keep, max_unsolved)
  if len(labels) != len(ids):
    raise ValueError(f"labels: expected one for each of {len(ids)} ids, got {len(labels)}")
  rows: dict[str, list[int]] = {name: [] for name in (*LABELS, UNLABELLED)}
  for index, name in enumerate(labels):
    rows[name if name in LABELS else UNLABELLED].append(index)
  staying = {
    name: sorted(of_label, key=lambda row: _draw(seed, ids[row]))[
      : _nearest(_exact(keep.get(name, 1.0)), len(of_label))
    ]
    for name, of_label in rows.items()
  }
  others = sum(len(of_label) for name, of_label in staying.items() if name != "unsolved")
  cap = _exact(max_unsolved)
  if cap < 1:
    del staying["unsolved"][math.floor(others * cap / (1 - cap)) :]
  chosen = np.zeros(len(labels), bool)
  for of_label in staying.values():
    chosen[of_label] = True
  return chosen


def _check(keep: Mapping[str, float], max_unsolved: float) -> None:
  for name, share in keep.items():
    if name not in (*LABELS, UNLABELLED):
      raise InputError(f"keep.{name}: unknown label, expected one of {', '.join((*LABELS, UNLABELLED))}")
    if not 0 <= share <= 1:
      raise InputError(f"keep.{name}: expected a share from 0 to 1, got {share!r}")
  if not 0 <= max_unsolved <= 1:
    raise InputError(f"max_unsolved: expected a share from 0 to 1, got {max_unsolved!r}")


def _exact(share: float) -> Fraction:
  """Returns the decimal value as written. The binary value of 0.3 is slightly smaller and would lose a row."""
  return Fraction(repr(float(share)))


def _nearest(share: Fraction, count: int) -> int:
  return math.floor(share * count + Fraction(1, 2))


def _draw(seed: int, id_: str) -> bytes:
  return hashlib.sha256(f"{seed}/{id_}".encode()).digest()
