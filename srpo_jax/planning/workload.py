"""Work of one training step for a stated distribution of response lengths, found without running a program.

Lengths follow a lognormal distribution and are cut at the limit. The sampler's schedule over slots and the trainer's
packing are then simulated with only these lengths.
"""

import dataclasses
import math
from statistics import NormalDist

import numpy as np

from srpo_jax.config import Config
from srpo_jax.training.batch import first_fit
from srpo_jax.utils.rounding import round_up


@dataclasses.dataclass(frozen=True)
class Lengths:
  """Distribution of response lengths, and the length of prompts."""

  mean: float  # mean response length in tokens, before the cut
  sigma: float  # standard deviation of the logarithm of the response lengths
  prompt: int  # tokens of every prompt

  def draw(self, n: int, max_new_tokens: int) -> np.ndarray:
    """Returns [n] response lengths from 1 to `max_new_tokens`, the same at every call.

    They are quantiles, shuffled by a fixed seed. With quantiles, the tail of a step depends on the distribution and not
    on a seed.
    """
    normal = _normal_quantiles((np.arange(n) + 0.5) / n)
    lengths = np.exp(math.log(self.mean) - self.sigma**2 / 2 + self.sigma * normal)
    return np.random.default_rng(0).permutation(np.clip(np.round(lengths), 1, max_new_tokens).astype(np.int64))


def _normal_quantiles(p: np.ndarray) -> np.ndarray:
  return np.array([NormalDist().inv_cdf(float(x)) for x in p])


@dataclasses.dataclass(frozen=True)
class Rollouts:
  """Decoding of one step."""

  steps: int  # iterations of the decode loop, all chunks together
  chunks: int  # calls of the decode loop
  in_use: float  # cache positions in use, summed over slots and averaged over steps
  longest: tuple[tuple[int, int], ...]  # per chunk: positions of the longest slot at its end, steps of the chunk


def simulate(lengths: np.ndarray, *, prompt: int, slots: int, chunk: int) -> Rollouts:
  """Simulates `sampler.sample_groups`. A slot that finishes takes the next response after the chunk is over."""
  waiting, taken = np.asarray(lengths), min(slots, len(lengths))
  left, done = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
  left[:taken] = waiting[:taken]
  steps, used, longest = 0, 0.0, []
  while left.any():
    n = int(min(chunk, left.max()))
    now = np.minimum(left, n)
    used += float(np.sum(now * (prompt + done) + now * (now + 1) / 2))
    left, done = left - now, done + now
    steps += n
    longest.append((prompt + int(done[now > 0].max()), n))
    free = np.flatnonzero(left == 0)[: len(waiting) - taken]
    left[free], done[free] = waiting[taken : taken + len(free)], 0
    done[left == 0] = 0
    taken += len(free)
  return Rollouts(steps, len(longest), used / max(1, steps), tuple(longest))


@dataclasses.dataclass(frozen=True)
class Workload:
  """Counts of one step."""

  lengths: Lengths
  responses: int
  prompts: int
  mean_length: float  # mean response length in tokens, after the cut
  truncated: int  # responses that reach the length limit and leave the loss
  new_tokens: int  # generated tokens
  loss_tokens: int
  trained_tokens: int  # tokens of prompts and responses in the update, without padding
  squares: float  # sum over the trained responses of (prompt + response)^2, for attention
  rollouts: Rollouts
  inserts: int
  micro_batches: tuple[tuple[int, int, int], ...]  # (tokens of a row, targets of a row, count) over all updates


def make_workload(config: Config, lengths: Lengths) -> Workload:
  """Returns the counts of a step in the mix of the last stage, with `rollout.max_new_tokens` as the length limit."""
  o, t = config.rollout, config.train
  n = o.prompts * o.group
  sizes = lengths.draw(n, o.max_new_tokens)
  kept = sizes[sizes < o.max_new_tokens]
  # A response of exactly the limit may have ended there, but counts as truncated, since nearly all of them are.
  rows = kept + lengths.prompt
  shapes: dict[tuple[int, int], int] = {}
  for part in (rows[i :: config.loss.updates] for i in range(config.loss.updates)):
    if t.pack_tokens:
      packed = len(first_fit([int(x) for x in part], t.pack_tokens)) if len(part) else 0
      shape = t.pack_tokens, t.pack_tokens
      shapes[shape] = shapes.get(shape, 0) + -(-packed // t.micro_batch)
    else:
      part = np.sort(part)[::-1]
      for start in range(0, len(part), t.micro_batch):
        longest = int(part[start])
        shape = round_up(longest, t.length_bucket), round_up(longest - lengths.prompt, t.length_bucket)
        shapes[shape] = shapes.get(shape, 0) + 1
  return Workload(
    lengths=lengths,
    responses=n,
    prompts=o.prompts,
    mean_length=float(sizes.mean()),
    truncated=n - len(kept),
    new_tokens=int(sizes.sum()),
    loss_tokens=int(kept.sum()),
    trained_tokens=int(rows.sum()),
    squares=float((rows.astype(np.float64) ** 2).sum()),
    rollouts=simulate(sizes, prompt=lengths.prompt, slots=o.slots, chunk=o.chunk),
    inserts=o.prompts * -(-o.group // min(o.group, o.slots)),
    micro_batches=tuple((*shape, count) for shape, count in sorted(shapes.items(), reverse=True)),
  )
