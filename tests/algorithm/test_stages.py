"""Shares, batches and plateaus compared with values worked by hand, brute force and a simulated run."""

import doctest
import itertools
import json

import numpy as np
import pytest

from srpo_jax.algorithm import stages
from srpo_jax.algorithm.history import Outcome, Pool, epoch_is_over, next_prompts, record, resample, restore
from srpo_jax.algorithm.stages import (
  Plateau,
  Position,
  batch_counts,
  batch_parts,
  has_plateaued,
  reward_with_retired,
  shares,
  watch,
)


def test_shares_by_hand():
  first, last = {"math": 0.9, "code": 0.1}, {"math": 0.5, "code": 0.5}
  assert shares(first, last, 4, 0) == first
  assert shares(first, last, 4, 1) == pytest.approx({"code": 0.2, "math": 0.8})
  assert shares(first, last, 4, 3) == pytest.approx({"code": 0.4, "math": 0.6})
  assert shares(first, last, 4, 4) == shares(first, last, 4, 99) == last
  assert shares({}, {"math": 1.0}, 0, 0) == {"math": 1.0}
  assert shares({"math": 1.0}, {"code": 1.0}, 2, 1) == {"code": 0.5, "math": 0.5}


PLENTY = {"a": 10**6, "b": 10**6, "c": 10**6}


def counts_of(share, prompts, left, offset, sizes=None):
  return batch_counts(batch_parts(share, prompts, sizes or left), left, offset)


def test_parts_by_hand():
  half = {"a": 0.5, "b": 0.5}
  assert batch_parts(half, 8, PLENTY) == {"a": 4.0, "b": 4.0}
  assert batch_parts(half, 8, {"a": 100, "b": 3}) == {"a": 5.0, "b": 3.0}
  assert batch_parts(half, 8, {"a": 100, "b": 0}) == {"a": 8.0}  # every prompt of b is solved
  assert batch_parts(half, 8, {"a": 2, "b": 3}) == {"a": 2.0, "b": 3.0}
  # a and b take over the missing part of c in the ratio 2 to 1. Then b cannot fill its part either.
  assert batch_parts({"a": 0.4, "b": 0.2, "c": 0.4}, 10, {"a": 99, "b": 2, "c": 1}) == {"a": 7.0, "b": 2.0, "c": 1.0}
  assert batch_parts({"a": 1.0, "b": 0.0}, 8, PLENTY) == {"a": 8.0} and batch_parts(half, 8, {}) == {}


@pytest.mark.parametrize("prompts", [1, 2, 7, 32, 256])
def test_a_full_batch_has_its_size_and_every_part_within_one(prompts):
  rng = np.random.default_rng(prompts)
  for _ in range(300):
    share = dict(zip("abc", rng.dirichlet([1, 1, 1]) * rng.choice([0, 1, 1], 3), strict=True))
    if not sum(share.values()):
      continue
    counts = counts_of(share, prompts, PLENTY, rng.random())
    assert sum(counts.values()) == prompts
    for domain, part in share.items():
      assert abs(counts.get(domain, 0) - prompts * part / sum(share.values())) < 1
      assert part or domain not in counts


def test_a_small_share_gets_its_prompts_on_average():
  offsets = (np.arange(1000) + 0.5) / 1000
  counts = [counts_of({"a": 0.97, "b": 0.03}, 8, PLENTY, offset)["b"] for offset in offsets]
  assert set(counts) == {0, 1} and np.mean(counts) == pytest.approx(0.24, abs=2e-3)


def test_a_batch_shrinks_with_the_domain_whose_epoch_ends_and_keeps_the_mix():
  half = {"a": 0.5, "b": 0.5}
  assert counts_of(half, 8, {"a": 9, "b": 3}, 0.0, PLENTY) == {"a": 3, "b": 3}
  assert counts_of(half, 8, {"a": 3, "b": 9}, 0.5, PLENTY) == {"a": 3, "b": 3}
  assert counts_of({"a": 1.0}, 8, {"a": 5}, 0.5, PLENTY) == {"a": 5}
  assert batch_counts({}, {}, 0.5) == {}
  share = {"a": 0.8, "b": 0.2}
  for left, offset in itertools.product(range(1, 9), (0.0, 0.3, 0.9)):
    counts = counts_of(share, 10, {"a": left, "b": 1}, offset, PLENTY)
    size = sum(counts.values())
    assert size >= 1 and counts["a"] <= left and counts["b"] <= 1 and abs(counts["a"] - 0.8 * size) < 1
    larger = [counts_of(share, n, PLENTY, offset) for n in range(size + 1, 11)]
    assert not any(other["a"] <= left and other["b"] <= 1 for other in larger)  # the counts are the largest that fit


def feed(series, window=1):
  """Returns the plateau after watching (value, epoch) pairs."""
  plateau = Plateau()
  for value, epoch in series:
    plateau = watch(plateau, value, {"math": epoch}, window=window)
  return plateau


def test_windows_span_whole_epochs():
  # Epochs have three steps. The epoch number is the number after the step.
  series = [(1.0, 0), (2.0, 0), (3.0, 1), (4.0, 1), (5.0, 1), (6.0, 2), (7.0, 2)]
  assert feed(series).means == (2.0, 5.0) and feed(series).values == (7.0,)
  assert feed(series, window=2).means == (3.5,)
  with_gaps = [(1.0, 0), (None, 1), (None, 2), (3.0, 2), (None, 3)]
  assert feed(with_gaps).means == (1.0, 3.0)  # epoch 1 has no value, so its window stays open
  two = watch(watch(Plateau(), 1.0, {"math": 0, "code": 0}, window=1), 2.0, {"math": 1, "code": 0}, window=1)
  assert two.means == () and watch(two, 3.0, {"math": 1, "code": 1}, window=1).means == (2.0,)


def test_plateau_by_hand():
  def fires(means, gain=0.1, patience=2):
    return has_plateaued(Plateau(tuple(means)), gain=gain, patience=patience)

  assert not fires([]) and not fires([0.5]) and not fires([0.5, 0.5])
  assert fires([0.5, 0.5, 0.5]) and fires([0.2, 0.5, 0.55, 0.59])
  assert not fires([0.2, 0.5, 0.55, 0.61]) and not fires([0.2, 0.5, 0.61, 0.4])
  assert fires([0.9, 0.2, 0.3]) and fires([0.5, 0.4], patience=1)


def simulate(skill, *, corrected):
  """Simulates a run over 100 prompts, half of them easy, and returns the window means of its training reward.

  `skill(epoch)` is the probability of solving a hard prompt. Easy prompts are always solved and retired after epoch 0.
  """
  rng = np.random.default_rng(0)
  pool, plateau = Pool("math", tuple(f"{kind}{i}" for kind in ("easy", "hard") for i in range(50))), Plateau()
  for _ in range(100):
    ids, met = next_prompts(pool, 10, 0)
    right = {id_: 32 if id_.startswith("easy") else int(rng.binomial(32, skill(pool.epoch))) for id_ in ids}
    reward = sum(right.values()) / 32 / len(ids)
    value = reward_with_retired(reward, pool, 1.0) if corrected else reward
    pool = record(met, {id_: Outcome(32, n, 0, 0, float(n)) for id_, n in right.items()})
    pool = resample(pool) if epoch_is_over(pool) else pool
    plateau = watch(plateau, value, {"math": pool.epoch}, window=1)
  return plateau.means


def fired_at(means):
  """Returns the number of windows after which the plateau fires, or None if it never fires."""
  counts = (n for n in range(len(means) + 1) if has_plateaued(Plateau(means[:n]), gain=0.005, patience=2))
  return next(counts, None)


def test_merely_retiring_easy_prompts_does_not_fire_the_plateau():
  def learning(epoch):
    return 0.2 + 0.03 * epoch

  assert fired_at(simulate(learning, corrected=False)) == 3  # the raw reward fell from 0.6 to 0.2
  means = simulate(learning, corrected=True)
  assert fired_at(means) is None and len(means) > 15
  assert means[0] == pytest.approx(0.6, abs=0.02) and means[1] == pytest.approx(0.615, abs=0.02)
  stuck = simulate(lambda epoch: 0.2, corrected=True)
  assert fired_at(stuck) is not None and fired_at(stuck) <= 6  # it fires if the policy does not learn


def test_restored_prompts_come_back_once_and_no_epoch_is_cut():
  pool = Pool("math", ("a", "b", "c"))
  seen = record(next_prompts(pool, 3, 0)[1], {"a": Outcome(2, 2), "b": Outcome(2, 1), "c": Outcome(2, 0)})
  after = resample(seen)
  assert after.prompts == ("b", "c") and after.retired == ("a",)
  assert restore(after) == Pool("math", ("b", "c", "a"), 1)  # the new epoch has not begun
  within = next_prompts(after, 1, 0)[1]
  back = restore(within)
  assert (back.prompts, back.cursor, back.retired, back.returning) == (("b", "c"), 1, (), ("a",))
  assert resample(next_prompts(back, 1, 0)[1]).prompts == ("b", "c", "a")
  assert restore(Pool("math", (), 3, retired=("a", "b"))) == Pool("math", ("a", "b"), 4)


def test_a_position_survives_json():
  pool = Pool("math", ("a",), 2, 1, {"a": Outcome(3, 1, 1, 0, 0.1)}, ("b",), ("c",))
  at = Position({"math": pool}, 7, 99, 1, 5, 2, Plateau((0.1, 1 / 3), (0.7,), {"math": 2}))
  assert Position.from_json(json.loads(json.dumps(at.to_json()))) == at


def test_doctests():
  found = doctest.testmod(stages)
  assert found.attempted == 2 and found.failed == 0
