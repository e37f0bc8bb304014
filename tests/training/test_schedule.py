"""The stages of a run: when they end, their mix of domains, and the state that the next stage takes over."""

import dataclasses

import pytest

from configs import base
from srpo_jax.algorithm.history import Outcome, next_prompts
from srpo_jax.config import make_config
from srpo_jax.training.schedule import Schedule
from srpo_jax.utils.errors import InputError

DOMAINS = {"math": [f"m{i}" for i in range(12)], "code": [f"c{i}" for i in range(6)]}


def schedule(*stages, **train):
  raw = base.get_config().to_dict()
  raw["model"]["path"], raw["data"]["train"], raw["data"]["eval"] = "x", "x", "x"
  raw["eval"]["every"] = 2
  raw["rollout"]["prompts"] = 4
  raw["train"] |= {"steps": 1000} | train
  raw["stages"] = {f"stage{i}": stage.to_dict() for i, stage in enumerate(stages, 1)}
  return Schedule(make_config(raw), DOMAINS)


def step(plan, at, solved=()):
  """Takes one training step in which the prompts in `solved` are solved. Returns the position and the batch sizes."""
  pools, outcomes = dict(at.pools), {}
  counts = plan.counts(at)
  for domain, n in counts.items():
    ids, pools[domain] = next_prompts(pools[domain], n, 0)
    outcomes[domain] = {id_: Outcome(2, 2 * (id_ in solved)) for id_ in ids}
  at = plan.record(dataclasses.replace(at, pools=pools), outcomes, 2 * sum(counts.values()))
  return plan.end_epochs(at)[0], counts


def run(plan, steps, solved=()):
  at, batches = plan.begin(), []
  for _ in range(steps):
    at = plan.advance(at)
    if plan.is_finished(at):
      break
    at, counts = step(plan, at, solved)
    batches.append(counts)
  return plan.advance(at), batches


def test_a_stage_ends_after_its_steps_and_the_next_one_ramps():
  two = [base.stage({"math": 1.0}, steps=2), base.stage({"math": 0.5, "code": 0.5}, start={"math": 1.0}, ramp=4)]
  at, batches = run(schedule(*two), 8)
  assert [b.get("code", 0) for b in batches][:3] == [0, 0, 0]
  assert [sum(b.values()) for b in batches][:6] == [4, 4, 4, 4, 4, 4]
  for k, batch in enumerate(batches[2:6]):
    assert abs(batch.get("code", 0) - sum(batch.values()) * k / 8) < 1
  assert batches[6] == {"code": 2, "math": 2}
  assert (at.stage, at.stage_start, at.step, at.n_rollouts) == (1, 2, 8, 2 * sum(sum(b.values()) for b in batches))


def test_the_mix_depends_only_on_seed_and_step():
  mix = base.stage({"math": 0.7, "code": 0.3})
  whole, batches = run(schedule(mix), 4)
  plan = schedule(mix)
  at = plan.begin()
  for k in range(2):
    at, counts = step(plan, at)
    assert counts == batches[k]
  again = schedule(mix)
  for k in range(2, 4):
    at, counts = step(again, at)
    assert counts == batches[k]
  assert at == whole
  assert run(schedule(mix, seed=1), 4)[1] != batches


def test_ends_by_epochs_and_by_everything_solved():
  at, batches = run(schedule(base.stage({"math": 1.0}, epochs=2)), 50)
  assert at.stage == 1 and len(batches) == 6
  plan = schedule(base.stage({"math": 0.5, "code": 0.5}, steps=99), base.stage({"math": 1.0}, steps=1))
  at, batches = run(plan, 50, solved=[*DOMAINS["math"], *DOMAINS["code"]])
  # All code is solved after 3 steps, and the rest of stage 1 has only math. Once everything is solved, stage 2 ends as
  # it begins.
  assert batches[:3] == [{"code": 2, "math": 2}] * 3 and all(b == {"math": 4} for b in batches[3:-1])
  assert sum(b.get("math", 0) for b in batches) == 12 and plan.is_finished(at)
  assert "solved" in str(plan.why_over(at))


def test_an_empty_mix_weights_domains_by_their_prompts():
  plan = schedule(base.stage())
  assert plan.stage(plan.begin()).mix == {"math": 12 / 18, "code": 6 / 18}


def test_retired_prompts_stay_retired_unless_the_stage_restores_them():
  solved = ["m0", "m1", "m2"]
  for restore, size in ((False, 9), (True, 12)):
    plan = schedule(base.stage({"math": 1.0}, epochs=1), base.stage({"math": 1.0}, restore_retired=restore))
    at, _ = run(plan, 3, solved)
    assert at.stage == 1 and len(at.pools["math"].prompts) == size
    assert at.pools["math"].retired == (() if restore else tuple(solved))


def test_plateaus_of_reward_and_of_heldout_end_a_stage():
  by_reward = schedule(base.stage({"math": 1.0}, plateau="reward", plateau_patience=1), base.stage())
  at, steps = by_reward.begin(), 0
  while at.stage == 0:
    before = at
    at, _ = step(by_reward, at)
    at = by_reward.advance(by_reward.watch_rewards(at, {"math": 0.5}, before))
    steps += 1
  assert steps == 6  # two epochs of three steps each, with equal mean rewards
  by_heldout = schedule(base.stage({"math": 1.0}, plateau="heldout", plateau_patience=1), base.stage())
  at, scores = by_heldout.begin(), iter([0.1, 0.2, 0.3, 0.305, 0.309])
  for _ in range(12):
    at = by_heldout.advance(by_heldout.watch_heldout(at, [next(scores)] if at.step % 3 == 0 else []))
    if at.stage:
      break
    at, _ = step(by_heldout, at)
  assert at.step == 9  # 0.1 and 0.2 are averaged in the first window, and 0.305 is not enough of a gain over 0.3


def test_inherited_pools_continue():
  first = schedule(base.stage({"math": 1.0}, steps=4))
  at, _ = run(first, 4, solved=["m0", "m1"])
  second = schedule(base.stage({"math": 0.5, "code": 0.5}, steps=3), stage=2, steps=2)
  begun = second.begin(at)
  assert begun.pools["math"] == at.pools["math"] and begun.pools["math"].cursor == 4
  assert len(begun.pools["code"].prompts) == 6
  assert (begun.step, begun.run_start, begun.n_rollouts, second.number(begun)) == (4, 4, at.n_rollouts, 2)
  assert not second.is_finished(begun) and second.is_finished(dataclasses.replace(begun, step=6))
  assert second.last_step(begun) == 6


@pytest.mark.parametrize(
  ("stage", "message"),
  [
    (base.stage({"poetry": 1.0}), r"config.stages.stage1.mix.poetry: no prompt of this domain in the data, only"),
    (base.stage({"math": 0.7}), r"config.stages.stage1.mix: expected shares that sum to 1"),
    (base.stage({"math": 1.0}, ramp=3), r"config.stages.stage1.ramp: expected start, ramp and mix together"),
    (base.stage({"math": 1.0}, plateau="never"), r"config.stages.stage1.plateau: expected heldout, reward or nothing"),
    (base.stage({"math": 1.0}, max_new_tokens=10**6), r"config.stages.stage1.max_new_tokens: 1000000, above"),
    (base.stage({"math": 1.0}, plateau="reward", plateau_window=0), r"config.stages.stage1.plateau_window"),
  ],
)  # fmt: skip
def test_bad_stages_are_named(stage, message):
  with pytest.raises(InputError, match=message):
    schedule(stage)


def test_a_stage_needs_an_end():
  with pytest.raises(InputError, match=r"stage1.steps: no end"):
    schedule(base.stage({"math": 1.0}), base.stage({"code": 1.0}))
  with pytest.raises(InputError, match=r"stage1.steps: no end"):
    schedule(base.stage({"math": 1.0}), steps=0)
