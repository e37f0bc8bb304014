"""Schedule of a run: the next prompts, and the end of each stage. Applies algorithm/stages.py to a run's config."""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np

from srpo_jax.algorithm.history import Outcome, Pool, epoch_is_over, record, resample, restore
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
from srpo_jax.config import Config, StageConfig
from srpo_jax.model.sampling import Purpose
from srpo_jax.utils.errors import InputError


class Schedule:
  """Stages of a run over its domains. Positions are immutable. Methods that change one return a new one."""

  def __init__(self, config: Config, domains: Mapping[str, Sequence[str]]):
    """Checks the stages against the data.

    Args:
      domains: ids of each domain's prompts, in the order of the data.

    Raises:
      InputError: a stage names a domain that the data does not have.
    """
    self._config = config
    self._domains = domains
    total = sum(map(len, domains.values()))
    everything = {domain: len(ids) / total for domain, ids in domains.items()}
    self.names = tuple(config.stages)
    self._stages = tuple(dataclasses.replace(s, mix=s.mix or everything) for s in config.stages.values())
    for name, stage in zip(self.names, self._stages, strict=True):
      for domain in {**stage.start, **stage.mix}:
        if domain not in domains:
          there = ", ".join(sorted(domains))
          raise InputError(f"config.stages.{name}.mix.{domain}: no prompt of this domain in the data, only of {there}")

  def begin(self, inherited: Position | None = None) -> Position:
    """Returns the position at the start of the first stage.

    Args:
      inherited: position of the run that this one continues. None: the run starts from the base model.
    """
    pools = {domain: Pool(domain, tuple(ids)) for domain, ids in self._domains.items()}
    if inherited is not None:
      pools |= {domain: pool for domain, pool in inherited.pools.items() if domain in pools}
    step, n_rollouts = (inherited.step, inherited.n_rollouts) if inherited else (0, 0)
    return self._enter(Position(pools, step=step, n_rollouts=n_rollouts, run_start=step), 0)

  def stage(self, position: Position) -> StageConfig:
    """Returns the current stage, or the last stage if the run is past it."""
    return self._stages[min(position.stage, len(self._stages) - 1)]

  def number(self, position: Position) -> int:
    """Returns the number of the current stage in the files."""
    return self._config.train.stage + min(position.stage, len(self._stages) - 1)

  def max_new_tokens(self, position: Position) -> int:
    """Returns the length limit of a response, in tokens."""
    return self.stage(position).max_new_tokens or self._config.rollout.max_new_tokens

  def counts(self, position: Position) -> dict[str, int]:
    """Returns the number of prompts of each domain in the next batch."""
    stage = self.stage(position)
    share = shares(stage.start or stage.mix, stage.mix, stage.ramp, position.step - position.stage_start)
    offset = np.random.default_rng((self._config.train.seed, Purpose.MIX, position.step)).random()
    sizes = {domain: len(pool.prompts) for domain, pool in position.pools.items()}
    left = {domain: pool.left for domain, pool in position.pools.items()}
    return batch_counts(batch_parts(share, self._config.rollout.prompts, sizes), left, float(offset))

  def record(self, position: Position, outcomes: Mapping[str, Mapping[str, Outcome]], rollouts: int) -> Position:
    """Returns the position after a step, before any epoch is ended.

    Args:
      outcomes: outcomes of the step, as domain -> prompt id -> outcome.
      rollouts: number of rollouts sampled in the step.
    """
    pools = {domain: record(pool, outcomes.get(domain, {})) for domain, pool in position.pools.items()}
    return dataclasses.replace(position, pools=pools, step=position.step + 1, n_rollouts=position.n_rollouts + rollouts)

  def end_epochs(self, position: Position) -> tuple[Position, list[tuple[Pool, Pool]]]:
    """Resamples the pools whose epoch is over. Returns the position, and each such pool with its successor."""
    mode = self._config.history.mode
    over = [pool for pool in position.pools.values() if pool.prompts and epoch_is_over(pool)]
    ended = [(pool, resample(pool, mode=mode)) for pool in over]
    pools = dict(position.pools) | {following.domain: following for _, following in ended}
    return dataclasses.replace(position, pools=pools), ended

  def watch_rewards(self, position: Position, rewards: Mapping[str, float | None], step_start: Position) -> Position:
    """Adds a step's mean rewards (domain -> mean) to the plateau, if the stage ends at a plateau of the reward."""
    if self.stage(position).plateau != "reward":
      return position
    mix, solved = self.stage(position).mix, 1 + self._config.reward.format_weight
    values = [
      (mix.get(domain, 0.0), reward_with_retired(mean, step_start.pools[domain], solved))
      for domain, mean in rewards.items()
      if mean is not None
    ]
    weight = sum(part for part, _ in values)
    return self._watch(position, sum(part * value for part, value in values) / weight if weight else None)

  def watch_heldout(self, position: Position, scores: Sequence[float]) -> Position:
    """Adds held-out scores of the stage's domains to the plateau, if the stage ends at a plateau of them."""
    if self.stage(position).plateau != "heldout" or not scores:
      return position
    return self._watch(position, float(np.mean(scores)))

  def _watch(self, position: Position, value: float | None) -> Position:
    stage = self.stage(position)
    epochs = {domain: position.pools[domain].epoch for domain in stage.mix if position.pools[domain].prompts}
    return dataclasses.replace(position, plateau=watch(position.plateau, value, epochs, window=stage.plateau_window))

  def why_over(self, position: Position) -> str | None:
    """Returns the reason why the current stage is over, in words. None: it is not over."""
    stage = self.stage(position)
    pools = [position.pools[domain] for domain in {**stage.start, **stage.mix}]
    if not any(pool.prompts for pool in pools):
      return "every prompt of its domains is solved"
    if stage.steps and position.step - position.stage_start >= stage.steps:
      return f"its {stage.steps} steps are done"
    if stage.epochs and all(pool.epoch >= stage.epochs or not pool.prompts for pool in pools):
      return f"its domains have finished {stage.epochs} epochs"
    if stage.plateau and has_plateaued(position.plateau, gain=stage.plateau_gain, patience=stage.plateau_patience):
      means = ", ".join(f"{mean:.3f}" for mean in position.plateau.means)
      return f"{stage.plateau} has reached its plateau (means by window: {means})"
    return None

  def advance(self, position: Position) -> Position:
    """Enters the next stage if the current one is over. Skips stages that are over at once."""
    while position.stage < len(self._stages) and (reason := self.why_over(position)):
      logging.info("step %d: %s ends: %s", position.step, self.names[position.stage], reason)
      position = self._enter(position, position.stage + 1)
    return position

  def _enter(self, position: Position, stage: int) -> Position:
    position = dataclasses.replace(position, stage=stage, stage_start=position.step, plateau=Plateau())
    if stage >= len(self._stages):
      return position
    mix = ", ".join(f"{domain} {share:.2g}" for domain, share in self.stage(position).mix.items())
    if len(self._stages) > 1 or position.run_start:
      logging.info("step %d: %s begins: %s", position.step, self.names[stage], mix)
    if not self.stage(position).restore_retired:
      return position
    return dataclasses.replace(position, pools={domain: restore(pool) for domain, pool in position.pools.items()})

  def is_finished(self, position: Position) -> bool:
    """Returns True if the run is past its last stage, or has reached its own limit."""
    limits = self._config.train
    domains = [pool for domain, pool in position.pools.items() if domain in self.stage(position).mix and pool.prompts]
    return (
      position.stage >= len(self._stages)
      or bool(limits.steps and position.step - position.run_start >= limits.steps)
      or bool(limits.rollouts and position.n_rollouts >= limits.rollouts)
      or bool(limits.epochs and all(pool.epoch >= limits.epochs for pool in domains))
    )

  def last_step(self, position: Position) -> int | None:
    """Returns an upper bound of the run's last step. None: its stages have no bound.

    The run may end earlier, because resampling shortens epochs.
    """
    limits, prompts, samples = self._config.train, self._config.rollout.prompts, self._config.rollout.group
    bounds = [position.run_start + limits.steps] if limits.steps else []
    if limits.rollouts:
      bounds.append(position.step + -(-(limits.rollouts - position.n_rollouts) // (prompts * samples)))
    if limits.epochs:
      epoch_steps = sum(math.ceil(len(ids) / prompts) for ids in self._domains.values())
      bounds.append(position.run_start + limits.epochs * epoch_steps)
    if all(stage.steps for stage in self._stages):
      bounds.append(position.run_start + sum(stage.steps for stage in self._stages))
    return min(bounds, default=None)
