"""History resampling (SRPO, arXiv 2504.14286) and the epochs that it works on.

Within an epoch every rollout's outcome is recorded for its prompt. At the epoch's end the prompts whose rollouts were
ALL correct leave the pool: a group without variance teaches nothing, and an easy prompt stays easy. Mixed and all-wrong
prompts stay. What counts is the verdict of the checker, never the shaped reward: a truncated response is not correct,
and one that could not be judged keeps its prompt in the pool.

A Pool is a value: recording and stepping return a new one.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What one epoch saw of one prompt."""

  n: int = 0  # rollouts
  n_correct: int = 0
  n_truncated: int = 0
  n_unjudged: int = 0
  reward_sum: float = 0.0  # over judged rollouts

  @property
  def mean_reward(self) -> float | None:
    """Over judged rollouts; None when there is none."""
    judged = self.n - self.n_unjudged
    return self.reward_sum / judged if judged else None


def outcome(correct: Sequence[int | None], truncated: Sequence[bool], rewards: Sequence[float]) -> Outcome:
  """The outcome of one prompt's rollouts; `correct` None is not judged."""
  verdicts = [0 if cut else verdict for verdict, cut in zip(correct, truncated, strict=True)]
  return Outcome(
    n=len(verdicts),
    n_correct=sum(verdict == 1 for verdict in verdicts),
    n_truncated=sum(map(bool, truncated)),
    n_unjudged=sum(verdict is None for verdict in verdicts),
    reward_sum=float(sum(r for r, verdict in zip(rewards, verdicts, strict=True) if verdict is not None)),
  )


def is_retained(seen: Outcome) -> bool:
  """False once every rollout of the prompt was judged correct."""
  return seen.n == 0 or seen.n_correct < seen.n


@dataclasses.dataclass(frozen=True)
class Pool:
  """One domain's prompts and how far its current epoch is."""

  domain: str
  prompts: tuple[str, ...]  # ids, in the order of the data set
  epoch: int = 0
  cursor: int = 0  # prompts of this epoch already visited
  history: Mapping[str, Outcome] = dataclasses.field(default_factory=dict)  # of this epoch
  retired: tuple[str, ...] = ()  # ids that resampling dropped, in the order in which they went
  returning: tuple[str, ...] = ()  # ids that were retired and join the next epoch

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, raw: Mapping[str, Any]) -> "Pool":
    seen = {prompt: Outcome(**outcome) for prompt, outcome in raw["history"].items()}
    ids = {name: tuple(raw[name]) for name in ("prompts", "retired", "returning")}
    return cls(raw["domain"], epoch=raw["epoch"], cursor=raw["cursor"], history=seen, **ids)

  @property
  def left(self) -> int:
    """Prompts that the current epoch has yet to visit."""
    return len(self.prompts) - self.cursor


def epoch_order(pool: Pool, seed: int) -> tuple[str, ...]:
  """The order in which the pool's current epoch visits its prompts, derived from (seed, domain, epoch)."""
  name = f"{seed}/{pool.domain}/{pool.epoch}".encode()
  rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()[:16], "little"))
  return tuple(pool.prompts[i] for i in rng.permutation(len(pool.prompts)))


def next_prompts(pool: Pool, n: int, seed: int) -> tuple[tuple[str, ...], Pool]:
  """The next `n` prompts of the epoch, fewer at its end, and the pool past them."""
  order = epoch_order(pool, seed)[pool.cursor : pool.cursor + n]
  return order, dataclasses.replace(pool, cursor=pool.cursor + len(order))


def record(pool: Pool, outcomes: Mapping[str, Outcome]) -> Pool:
  """The pool with what was seen of some prompts added to its epoch's history."""
  history = dict(pool.history)
  for prompt, new in outcomes.items():
    old = dataclasses.astuple(history.get(prompt, Outcome()))
    history[prompt] = Outcome(*(a + b for a, b in zip(old, dataclasses.astuple(new), strict=True)))
  return dataclasses.replace(pool, history=history)


def epoch_is_over(pool: Pool) -> bool:
  return pool.left <= 0


def resample(pool: Pool, *, mode: str = "srpo") -> Pool:
  """The next epoch's pool, its history empty. Mode "srpo" drops the all-correct prompts, "none" keeps all."""
  seen = pool.history
  kept = pool.prompts if mode == "none" else tuple(p for p in pool.prompts if is_retained(seen.get(p, Outcome())))
  gone = set(pool.prompts) - set(kept)
  retired = (*pool.retired, *(p for p in pool.prompts if p in gone))
  return Pool(pool.domain, kept + pool.returning, pool.epoch + 1, retired=retired)


def restore(pool: Pool) -> Pool:
  """The retired prompts come back: at once where the epoch has not begun, else with the next one."""
  if not pool.prompts:
    return Pool(pool.domain, pool.retired, pool.epoch + 1)
  if pool.cursor == 0:
    return dataclasses.replace(pool, prompts=pool.prompts + pool.retired, retired=())
  return dataclasses.replace(pool, retired=(), returning=pool.returning + pool.retired)
