"""History resampling and epochs (SRPO, arXiv 2504.14286).

During an epoch, the outcome of every rollout is recorded for its prompt. At the end of the epoch, prompts whose
rollouts were ALL correct are retired from the pool. A group without variance has no gradient, and an easy prompt stays
easy. Prompts with mixed or all-wrong rollouts stay.

The checker's verdict decides, never the shaped reward. A truncated response counts as not correct. A response that
could not be judged keeps its prompt in the pool.

A Pool is immutable. The functions return a new one.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Counts of one prompt's rollouts in one epoch."""

  n: int = 0  # rollouts
  n_correct: int = 0
  n_truncated: int = 0
  n_unjudged: int = 0
  reward_sum: float = 0.0  # sum over judged rollouts

  @property
  def mean_reward(self) -> float | None:
    """Mean reward of the judged rollouts. None if no rollout was judged."""
    judged = self.n - self.n_unjudged
    return self.reward_sum / judged if judged else None


def outcome(correct: Sequence[int | None], truncated: Sequence[bool], rewards: Sequence[float]) -> Outcome:
  """Returns the outcome of one prompt's rollouts. A `correct` of None means not judged."""
  verdicts = [0 if cut else verdict for verdict, cut in zip(correct, truncated, strict=True)]
  return Outcome(
    n=len(verdicts),
    n_correct=sum(verdict == 1 for verdict in verdicts),
    n_truncated=sum(map(bool, truncated)),
    n_unjudged=sum(verdict is None for verdict in verdicts),
    reward_sum=float(sum(r for r, verdict in zip(rewards, verdicts, strict=True) if verdict is not None)),
  )


def is_retained(seen: Outcome) -> bool:
  """Returns False if the prompt has rollouts and all of them were judged correct."""
  return seen.n == 0 or seen.n_correct < seen.n


@dataclasses.dataclass(frozen=True)
class Pool:
  """One domain's prompts, and the progress of its current epoch."""

  domain: str
  prompts: tuple[str, ...]  # ids, in the order of the data set
  epoch: int = 0
  cursor: int = 0  # number of prompts already visited in this epoch
  history: Mapping[str, Outcome] = dataclasses.field(default_factory=dict)  # prompt id -> its outcome in this epoch
  retired: tuple[str, ...] = ()  # ids that resampling dropped, in the order in which they were dropped
  returning: tuple[str, ...] = ()  # ids that were retired and rejoin the pool at the next epoch

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, raw: Mapping[str, Any]) -> "Pool":
    seen = {prompt: Outcome(**outcome) for prompt, outcome in raw["history"].items()}
    ids = {name: tuple(raw[name]) for name in ("prompts", "retired", "returning")}
    return cls(raw["domain"], epoch=raw["epoch"], cursor=raw["cursor"], history=seen, **ids)

  @property
  def left(self) -> int:
    """Number of prompts that the current epoch has not visited yet."""
    return len(self.prompts) - self.cursor


def epoch_order(pool: Pool, seed: int) -> tuple[str, ...]:
  """Returns the ids of the pool's prompts in the order of its current epoch, derived from (seed, domain, epoch)."""
  name = f"{seed}/{pool.domain}/{pool.epoch}".encode()
  rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()[:16], "little"))
  return tuple(pool.prompts[i] for i in rng.permutation(len(pool.prompts)))


def next_prompts(pool: Pool, n: int, seed: int) -> tuple[tuple[str, ...], Pool]:
  """Returns the next `n` prompts of the epoch, or fewer at its end, and the pool with its cursor after them."""
  order = epoch_order(pool, seed)[pool.cursor : pool.cursor + n]
  return order, dataclasses.replace(pool, cursor=pool.cursor + len(order))


def record(pool: Pool, outcomes: Mapping[str, Outcome]) -> Pool:
  """Returns the pool with outcomes (by prompt id) added to the history of its epoch."""
  history = dict(pool.history)
  for prompt, new in outcomes.items():
    old = dataclasses.astuple(history.get(prompt, Outcome()))
    history[prompt] = Outcome(*(a + b for a, b in zip(old, dataclasses.astuple(new), strict=True)))
  return dataclasses.replace(pool, history=history)


def epoch_is_over(pool: Pool) -> bool:
  return pool.left <= 0


def resample(pool: Pool, *, mode: str = "srpo") -> Pool:
  """Returns the pool of the next epoch, with an empty history.

  Mode "srpo" retires the prompts whose rollouts were all correct. Mode "none" keeps all prompts.
  """
  seen = pool.history
  kept = pool.prompts if mode == "none" else tuple(p for p in pool.prompts if is_retained(seen.get(p, Outcome())))
  dropped = set(pool.prompts) - set(kept)
  retired = (*pool.retired, *(p for p in pool.prompts if p in dropped))
  return Pool(pool.domain, kept + pool.returning, pool.epoch + 1, retired=retired)


def restore(pool: Pool) -> Pool:
  """Returns the pool with its retired prompts restored.

  They rejoin at once if the epoch has not begun or the pool is empty, and otherwise with the next epoch.
  """
  if not pool.prompts:
    return Pool(pool.domain, pool.retired, pool.epoch + 1)
  if pool.cursor == 0:
    return dataclasses.replace(pool, prompts=pool.prompts + pool.retired, retired=())
  return dataclasses.replace(pool, retired=(), returning=pool.returning + pool.retired)
