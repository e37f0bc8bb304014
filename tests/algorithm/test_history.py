"""History resampling and epochs compared with cases worked by hand."""

import json

from srpo_jax.algorithm.history import (
  Outcome,
  Pool,
  epoch_is_over,
  epoch_order,
  is_retained,
  next_prompts,
  outcome,
  record,
  resample,
)

POOL = Pool("math", tuple("abcdefg"))


def test_outcome_counts():
  seen = outcome([1, 0, None, 1], [False, False, False, True], [1.1, 0.1, float("nan"), 1.1])
  assert seen == Outcome(n=4, n_correct=1, n_truncated=1, n_unjudged=1, reward_sum=1.1 + 0.1 + 1.1)
  assert seen.mean_reward == (1.1 + 0.1 + 1.1) / 3
  assert outcome([None], [False], [float("nan")]).mean_reward is None


def test_dropped_means_all_judged_correct_and_none_unjudged():
  def kept(correct, truncated=None):
    return is_retained(outcome(correct, truncated or [False] * len(correct), [0.0] * len(correct)))

  assert not kept([1, 1, 1])
  assert kept([1, 0, 1])
  assert kept([0, 0, 0])
  assert kept([1, 1, None])
  assert kept([None, None])
  assert kept([1, 1, 1], [False, True, False])
  assert is_retained(Outcome())


def test_shaped_reward_does_not_count():
  assert not is_retained(outcome([1, 1], [False, False], [-5.0, 1.0]))
  assert is_retained(outcome([0, 0], [False, False], [9.0, 9.0]))


def test_an_epoch_visits_every_prompt_once_and_its_last_batch_is_short():
  pool, visited, sizes = POOL, [], []
  while not epoch_is_over(pool):
    ids, pool = next_prompts(pool, 3, seed=5)
    visited += ids
    sizes.append(len(ids))
  assert sorted(visited) == list(POOL.prompts) and sizes == [3, 3, 1]
  assert next_prompts(POOL, 100, seed=5)[0] == tuple(visited)


def test_order_depends_only_on_seed_domain_and_epoch():
  orders = {epoch_order(pool, seed) for seed in (0, 1) for pool in (POOL, Pool("code", POOL.prompts), resample(POOL))}
  assert len(orders) == 6
  moved = record(next_prompts(POOL, 3, seed=0)[1], {"a": Outcome(n=1)})
  assert epoch_order(moved, 0) == epoch_order(POOL, 0)


def test_record_adds_up_and_leaves_the_old_value():
  once = record(POOL, {"a": Outcome(2, 1, 0, 0, 1.5)})
  twice = record(once, {"a": Outcome(2, 2, 0, 1, 2.0), "b": Outcome(1)})
  assert twice.history == {"a": Outcome(4, 3, 0, 1, 3.5), "b": Outcome(1)}
  assert once.history == {"a": Outcome(2, 1, 0, 0, 1.5)} and POOL.history == {}


def test_resample():
  seen = record(POOL, {"a": Outcome(n=4, n_correct=4), "b": Outcome(n=4, n_correct=3), "c": Outcome(n=4)})
  following = resample(seen)
  assert following == Pool("math", tuple("bcdefg"), epoch=1, retired=("a",))
  assert resample(seen, mode="none").prompts == POOL.prompts
  done = record(POOL, {p: Outcome(n=1, n_correct=1) for p in POOL.prompts})
  assert resample(done).prompts == ()


def test_pool_survives_json():
  pool = record(next_prompts(POOL, 3, seed=0)[1], {"a": Outcome(2, 1, 0, 1, 0.1 + 0.2)})
  assert Pool.from_json(json.loads(json.dumps(pool.to_json()))) == pool
