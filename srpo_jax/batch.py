"""Rollouts with advantages become the micro-batches of an update."""

from collections.abc import Sequence

import numpy as np

from srpo_jax.learner import MicroBatch
from srpo_jax.rollout.sampler import round_up
from srpo_jax.types import Rollout


def make_micro_batches(
  rollouts: Sequence[Rollout],
  advantages: Sequence[float],
  *,
  rows: int,
  length_bucket: int,
) -> list[MicroBatch]:
  """Micro-batches of `rows` rows (the last filled up with padding), each padded to its own longest row.

  Rows of like length go together, and lengths are rounded up to multiples of `length_bucket`, so that few programs
  are compiled and little padding is computed. The caller passes only responses whose tokens are in the loss.
  """
  order = sorted(range(len(rollouts)), key=lambda i: -(len(rollouts[i].prompt_tokens) + len(rollouts[i].tokens)))
  return [
    _micro_batch(
      [rollouts[i] for i in order[at : at + rows]], [advantages[i] for i in order[at : at + rows]], rows, length_bucket
    )
    for at in range(0, len(order), rows)
  ]


def _micro_batch(rollouts: list[Rollout], advantages: list[float], rows: int, bucket: int) -> MicroBatch:
  length = round_up(max(len(r.prompt_tokens) + len(r.tokens) for r in rollouts), bucket)
  targets = round_up(max(len(r.tokens) for r in rollouts), bucket)
  batch = MicroBatch(
    tokens=np.zeros((rows, length), np.int32),
    positions=np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
    segments=np.zeros((rows, length), np.int32),
    source=np.zeros((rows, targets), np.int32),
    target=np.zeros((rows, targets), np.int32),
    in_loss=np.zeros((rows, targets), bool),
    advantage=np.zeros((rows, targets), np.float32),
    sampler_logprob=np.zeros((rows, targets), np.float32),
    old_logprob=np.zeros((rows, targets), np.float32),
  )
  for i, (rollout, advantage) in enumerate(zip(rollouts, advantages, strict=True)):
    prompt, n = len(rollout.prompt_tokens), len(rollout.tokens)
    batch.tokens[i, : prompt + n] = np.concatenate([rollout.prompt_tokens, rollout.tokens])
    batch.segments[i, : prompt + n] = 1
    batch.source[i, :n] = np.arange(prompt - 1, prompt - 1 + n)
    batch.target[i, :n] = rollout.tokens
    batch.in_loss[i, :n] = True
    batch.advantage[i, :n] = advantage
    batch.sampler_logprob[i, :n] = rollout.logprobs
  return batch
