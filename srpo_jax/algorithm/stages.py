"""Training stages (SRPO, arXiv 2504.14286): math until it plateaus, then math and code, with code phased in gradually.

A stage mixes domains. The domains' shares of a batch change linearly from `first` to `last` over `ramp` steps. Each
batch matches them to within one prompt. A stage ends after its steps or epochs, or when the value that it watches
reaches a plateau.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from srpo_jax.algorithm.history import Pool


def shares(first: Mapping[str, float], last: Mapping[str, float], ramp: int, step: int) -> dict[str, float]:
  """Returns each domain's share of the batch at step `step` of the stage, counted from 0.

  Shares are `first` at step 0 and `last` from step `ramp` on.

  >>> shares({"math": 1.0}, {"math": 0.5, "code": 0.5}, ramp=4, step=1)
  {'code': 0.125, 'math': 0.875}
  """
  progress = min(step / ramp, 1.0) if ramp else 1.0
  return {d: (1 - progress) * first.get(d, 0.0) + progress * last.get(d, 0.0) for d in sorted({*first, *last})}


def batch_parts(share: Mapping[str, float], prompts: int, sizes: Mapping[str, int]) -> dict[str, float]:
  """Returns each domain's part of a full batch, in prompts.

  The part is the domain's share of the batch, but at most the size of its pool. Prompts that a small pool cannot supply
  come from the other domains, in proportion to their shares. Otherwise a nearly solved domain, which resampling has
  almost emptied, would shrink batches to a harmful handful of prompts. A domain with an empty pool gets no part.

  >>> batch_parts({"math": 0.5, "code": 0.5}, 32, {"math": 900, "code": 3})
  {'code': 3.0, 'math': 29.0}
  """
  open_ = {domain: part for domain, part in sorted(share.items()) if part > 0 and sizes.get(domain, 0) > 0}
  parts: dict[str, float] = {}
  while open_:
    rest = prompts - sum(parts.values())
    total = sum(open_.values())
    full = [domain for domain, part in open_.items() if sizes[domain] < rest * part / total]
    if not full:
      parts |= {domain: rest * part / total for domain, part in open_.items()}
      break
    for domain in full:
      parts[domain] = float(sizes[domain])
      del open_[domain]
  return dict(sorted(parts.items()))


def batch_counts(parts: Mapping[str, float], left: Mapping[str, int], offset: float) -> dict[str, int]:
  """Returns the number of prompts of each domain in the next batch. It is the domain's part, to within one prompt.

  The last batch of an epoch is short. If a domain has fewer prompts left in its epoch than its part, the whole batch
  shrinks, so that the mix of domains stays the same.

  Args:
    parts: positive part of a full batch by domain, in prompts.
    left: number of prompts that each domain's current epoch has not visited yet.
    offset: starting point of the rounding, in [0, 1). Parts are exact on average over uniform offsets.
  """
  total = sum(parts.values())
  for size in range(round(total), 0, -1):
    counts, before, reached = {}, 0, 0.0
    for place, (domain, part) in enumerate(parts.items()):
      reached += part / total
      end = size if place == len(parts) - 1 else math.floor(size * reached + offset)
      counts[domain], before = end - before, end
    if all(n <= left[d] for d, n in counts.items()):
      return counts
  return {}


@dataclasses.dataclass(frozen=True)
class Plateau:
  """Values watched for a plateau, averaged over windows.

  A window covers at least one epoch of every domain. The batches within an epoch are not comparable, because each has
  different prompts.
  """

  means: tuple[float, ...] = ()  # of the finished windows
  values: tuple[float, ...] = ()  # in the current window
  opened: Mapping[str, int] = dataclasses.field(default_factory=dict)  # domain -> its epoch when the window opened

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, raw: Mapping[str, Any]) -> "Plateau":
    return cls(tuple(raw["means"]), tuple(raw["values"]), dict(raw["opened"]))


def watch(plateau: Plateau, value: float | None, epochs: Mapping[str, int], *, window: int) -> Plateau:
  """Returns the plateau with a value added. The window closes after `window` epochs of every domain.

  Args:
    value: value to add. None: nothing was measured.
    epochs: current epoch of each domain of the stage.
  """
  opened = {domain: plateau.opened.get(domain, epoch) for domain, epoch in epochs.items()}
  values = plateau.values if value is None else (*plateau.values, value)
  if not values or any(epoch - opened[domain] < window for domain, epoch in epochs.items()):
    return Plateau(plateau.means, values, opened)
  return Plateau((*plateau.means, sum(values) / len(values)), (), dict(epochs))


def has_plateaued(plateau: Plateau, *, gain: float, patience: int) -> bool:
  """Returns True if none of the last `patience` windows beat the best window before them by at least `gain`."""
  earlier, recent = plateau.means[:-patience], plateau.means[-patience:]
  return bool(earlier) and max(recent) < max(earlier) + gain


def reward_with_retired(mean_reward: float, pool: Pool, solved_reward: float) -> float:
  """Returns the mean reward over all prompts of a domain, counting retired prompts as solved.

  Resampling removes the easy prompts, so the raw reward of a batch drops at every epoch even if the policy improves.

  Args:
    mean_reward: mean reward of a batch drawn from `pool`.
    solved_reward: reward of a solved prompt.
  """
  active, retired = len(pool.prompts), len(pool.retired)
  return (active * mean_reward + retired * solved_reward) / (active + retired)


@dataclasses.dataclass(frozen=True)
class Position:
  """Progress of a run. It is all of the run's state on the host."""

  pools: Mapping[str, Pool]  # by domain
  step: int = 0  # number of updates applied
  n_rollouts: int = 0  # number of rollouts sampled for training so far
  stage: int = 0  # index of the current stage
  stage_start: int = 0  # step at which the stage began
  run_start: int = 0  # step at which the run itself began
  plateau: Plateau = Plateau()

  def to_json(self) -> dict[str, Any]:
    """Returns the position as checkpoints store it. The keys must not change, so that old checkpoints still load."""
    return {
      "pools": {domain: pool.to_json() for domain, pool in self.pools.items()},
      "step": self.step,
      "spent": self.n_rollouts,
      "stage": self.stage,
      "begun": self.stage_start,
      "origin": self.run_start,
      "plateau": self.plateau.to_json(),
    }

  @classmethod
  def from_json(cls, raw: Mapping[str, Any]) -> "Position":
    pools = {domain: Pool.from_json(pool) for domain, pool in raw["pools"].items()}
    plateau = Plateau.from_json(raw["plateau"])
    return cls(pools, raw["step"], raw["spent"], raw["stage"], raw["begun"], raw["origin"], plateau)
