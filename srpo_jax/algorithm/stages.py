"""The two stages (SRPO, arXiv 2504.14286): math until it plateaus, then code beside it, brought in gradually.

A stage mixes domains. Its shares go in a straight line from the first to the last over `ramp` steps; each batch holds
them exactly, to within one prompt. It ends after its steps or epochs, or at the plateau of what it watches.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from srpo_jax.algorithm.history import Pool


def shares(first: Mapping[str, float], last: Mapping[str, float], ramp: int, step: int) -> dict[str, float]:
  """Each domain's share of the batch at the stage's own `step` (0 its first): `first` at 0, `last` from `ramp` on.

  >>> shares({"math": 1.0}, {"math": 0.5, "code": 0.5}, ramp=4, step=1)
  {'code': 0.125, 'math': 0.875}
  """
  way = min(step / ramp, 1.0) if ramp else 1.0
  return {d: (1 - way) * first.get(d, 0.0) + way * last.get(d, 0.0) for d in sorted({*first, *last})}


def batch_parts(share: Mapping[str, float], prompts: int, sizes: Mapping[str, int]) -> dict[str, float]:
  """Each domain's part of a full batch, in prompts: its share, but no more than its pool holds.

  What a small pool cannot fill goes to the others by their shares: resampling empties a domain that is nearly solved,
  and batches of a handful of prompts would do harm. An empty pool has no part.

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
  """How many prompts of each domain make the batch: its part, to within one prompt.

  An epoch's last batch is short. Where a domain has fewer prompts left in its epoch than its part, the whole batch
  shrinks, so that the mix stays.

  Args:
    parts: of a full batch, in prompts, by domain; positive.
    left: prompts that each domain's current epoch has yet to visit.
    offset: in [0, 1), where the rounding to prompts starts: over uniform offsets a part is exact on average.
  """
  total = sum(parts.values())
  for size in range(round(total), 0, -1):
    counts, before, reached = {}, 0, 0.0
    for place, (domain, part) in enumerate(parts.items()):
      reached += part / total
      upto = size if place == len(parts) - 1 else math.floor(size * reached + offset)
      counts[domain], before = upto - before, upto
    if all(n <= left[d] for d, n in counts.items()):
      return counts
  return {}


@dataclasses.dataclass(frozen=True)
class Plateau:
  """What has been watched for a plateau: means of finished windows, and the values of the open one.

  A window is open for at least one epoch of every domain: within an epoch the batches are not comparable, as each
  holds other prompts.
  """

  means: tuple[float, ...] = ()
  values: tuple[float, ...] = ()
  opened: Mapping[str, int] = dataclasses.field(default_factory=dict)  # domain -> its epoch when the window opened

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, raw: Mapping[str, Any]) -> "Plateau":
    return cls(tuple(raw["means"]), tuple(raw["values"]), dict(raw["opened"]))


def watch(plateau: Plateau, value: float | None, epochs: Mapping[str, int], *, window: int) -> Plateau:
  """Adds a value (None: nothing was measured) and closes the window after `window` epochs of every domain.

  Args:
    epochs: the current epoch of each domain of the stage.
  """
  opened = {domain: plateau.opened.get(domain, epoch) for domain, epoch in epochs.items()}
  values = plateau.values if value is None else (*plateau.values, value)
  if not values or any(epoch - opened[domain] < window for domain, epoch in epochs.items()):
    return Plateau(plateau.means, values, opened)
  return Plateau((*plateau.means, sum(values) / len(values)), (), dict(epochs))


def has_plateaued(plateau: Plateau, *, gain: float, patience: int) -> bool:
  """Whether none of the last `patience` windows was better than the best before them by at least `gain`."""
  earlier, recent = plateau.means[:-patience], plateau.means[-patience:]
  return bool(earlier) and max(recent) < max(earlier) + gain


def reward_with_retired(mean_reward: float, pool: Pool, solved_reward: float) -> float:
  """The mean reward over all prompts of a domain, those that resampling retired counted as solved.

  Resampling takes the easy prompts out, so the raw reward of a batch falls at every epoch, however the policy does.

  Args:
    mean_reward: of the batch, drawn from `pool`.
    solved_reward: of a solved prompt.
  """
  here, retired = len(pool.prompts), len(pool.retired)
  return (here * mean_reward + retired * solved_reward) / (here + retired)


@dataclasses.dataclass(frozen=True)
class Position:
  """How far a run is: all of its host's state."""

  pools: Mapping[str, Pool]  # by domain
  step: int = 0  # updates applied
  n_rollouts: int = 0  # sampled for training so far
  stage: int = 0  # index of the current stage
  stage_start: int = 0  # step at which the stage began
  run_start: int = 0  # step at which the run itself began
  plateau: Plateau = Plateau()

  def to_json(self) -> dict[str, Any]:
    """Returns the form that checkpoints store. Its keys do not change, so that old checkpoints load."""
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
