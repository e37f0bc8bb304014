"""Rollouts with advantages become the micro-batches of an update."""

from collections.abc import Sequence

import numpy as np

from srpo_jax.learner import MicroBatch
from srpo_jax.rollout.sampler import round_up
from srpo_jax.types import Rollout


def make_micro_batches(
  responses: Sequence[tuple[Rollout, float]],
  *,
  rows: int,
  length_bucket: int,
) -> list[MicroBatch]:
  """Micro-batches of `rows` rows (the last filled up with padding), each padded to its own longest row.

  Rows of like length go together, and lengths are rounded up to multiples of `length_bucket`, so that few programs
  are compiled and little padding is computed.

  Args:
    responses: each with its advantage; only those whose tokens are in the loss.
  """
  longest_first = sorted(responses, key=lambda response: -_length(response[0]))
  return [_micro_batch(longest_first[at : at + rows], rows, length_bucket) for at in range(0, len(responses), rows)]


def _length(rollout: Rollout) -> int:
  return len(rollout.prompt_tokens) + len(rollout.tokens)


def _micro_batch(responses: list[tuple[Rollout, float]], rows: int, bucket: int) -> MicroBatch:
  length = round_up(max(_length(rollout) for rollout, _ in responses), bucket)
  targets = round_up(max(len(rollout.tokens) for rollout, _ in responses), bucket)
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
  for i, (rollout, advantage) in enumerate(responses):
    prompt, n = len(rollout.prompt_tokens), len(rollout.tokens)
    batch.tokens[i, : prompt + n] = np.concatenate([rollout.prompt_tokens, rollout.tokens])
    batch.segments[i, : prompt + n] = 1
    batch.source[i, :n] = np.arange(prompt - 1, prompt - 1 + n)
    batch.target[i, :n] = rollout.tokens
    batch.in_loss[i, :n] = True
    batch.advantage[i, :n] = advantage
    batch.sampler_logprob[i, :n] = rollout.logprobs
  return batch
