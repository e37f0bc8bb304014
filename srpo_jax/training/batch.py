"""Makes the micro-batches of an update from rollouts and advantages, with one response per row or several packed.

Each response lies entirely in one row of one micro-batch. Losses over whole responses rely on this (`algorithm.loss`).
"""

from collections.abc import Sequence

import numpy as np

from srpo_jax.model.shared_prompts import SharedPrompts
from srpo_jax.training.learner import MicroBatch
from srpo_jax.types import Rollout
from srpo_jax.utils.rounding import round_up

Response = tuple[Rollout, float]  # a rollout and its advantage


def make_micro_batches(responses: Sequence[Response], *, rows: int, length_bucket: int) -> list[MicroBatch]:
  """Returns micro-batches of `rows` rows with one response each, each micro-batch padded to its longest row.

  Responses of similar length share a micro-batch, and lengths are rounded up to multiples of `length_bucket`. This
  keeps the number of compiled programs and the amount of padding small. The last micro-batch is filled with padding
  rows.

  Args:
    responses: responses whose tokens are in the loss.
  """
  longest_first = sorted(responses, key=lambda response: -_length(response[0]))
  batches = []
  for start in range(0, len(responses), rows):
    part = longest_first[start : start + rows]
    length = round_up(max(_length(rollout) for rollout, _ in part), length_bucket)
    targets = round_up(max(len(rollout.tokens) for rollout, _ in part), length_bucket)
    batches.append(_micro_batch([[response] for response in part], rows, length, targets))
  return batches


def pack_micro_batches(responses: Sequence[Response], *, rows: int, row_tokens: int) -> list[MicroBatch]:
  """Returns micro-batches of `rows` rows of `row_tokens` tokens, with responses packed into rows by `first_fit`.

  All micro-batches of a run have the same shape, so only one program is compiled.

  Args:
    responses: responses whose tokens are in the loss.

  Raises:
    ValueError: a response is longer than a row.
  """
  packed = [
    [responses[i] for i in row] for row in first_fit([_length(rollout) for rollout, _ in responses], row_tokens)
  ]
  parts = [packed[start : start + rows] for start in range(0, len(packed), rows)]
  return [_micro_batch(part, rows, row_tokens, row_tokens) for part in parts]


def first_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
  """Packs items into bins and returns each bin's indices into `sizes`.

  Items are taken in order of decreasing size. Each goes into the first bin that has room for it.

  Raises:
    ValueError: an item is larger than a bin.
  """
  bins: list[list[int]] = []
  room = np.full(len(sizes), capacity)  # free space of every bin, including bins not in use yet
  for i in np.argsort(-np.asarray(sizes, np.int64), kind="stable"):
    if sizes[i] > capacity:
      raise ValueError(f"{sizes[i]} tokens, expected at most {capacity}")
    at = int(np.argmax(room >= sizes[i]))
    if at == len(bins):
      bins.append([])
    bins[at].append(int(i))
    room[at] -= sizes[i]
  return bins


def _length(rollout: Rollout) -> int:
  return len(rollout.prompt_tokens) + len(rollout.tokens)


def _micro_batch(packed: Sequence[Sequence[Response]], rows: int, length: int, targets: int) -> MicroBatch:
  """Returns a micro-batch with the responses of `packed`, in rows of `length` tokens and `targets` targets.

  Raises:
    ValueError: responses do not fit into their row, or one has no tokens.
  """
  for responses in packed:
    n_tokens = sum(_length(rollout) for rollout, _ in responses)
    n_targets = sum(len(rollout.tokens) for rollout, _ in responses)
    if n_tokens > length or n_targets > targets or not all(len(rollout.tokens) for rollout, _ in responses):
      raise ValueError(f"a row of {n_tokens} tokens and {n_targets} targets, expected at most {length} and {targets}")
  batch = empty_micro_batch(rows, length, targets)
  for row, responses in enumerate(packed):
    begin = first = 0  # offset of the response in the row's tokens, and in the row's targets
    for segment, (rollout, advantage) in enumerate(responses, 1):
      prompt, n = len(rollout.prompt_tokens), len(rollout.tokens)
      here, there = (row, slice(begin, begin + prompt + n)), (row, slice(first, first + n))
      batch.tokens[here] = np.concatenate([rollout.prompt_tokens, rollout.tokens])
      batch.positions[here] = np.arange(prompt + n)
      batch.segments[here] = segment
      batch.target_response[there] = segment
      batch.source[there] = begin + np.arange(prompt - 1, prompt - 1 + n)
      batch.target[there] = rollout.tokens
      batch.in_loss[there] = True
      batch.advantage[there] = advantage
      batch.sampler_logprob[there] = rollout.logprobs
      begin, first = begin + prompt + n, first + n
  return batch


def empty_micro_batch(rows: int, length: int, targets: int, shared: SharedPrompts | None = None) -> MicroBatch:
  """Returns a micro-batch with only padding: [rows, length] tokens and [rows, targets] targets.

  Args:
    shared: layout of rows whose responses share a prompt. None: each response has its own copy of its prompt.
  """
  return MicroBatch(
    tokens=np.zeros((rows, length), np.int32),
    positions=np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
    segments=np.zeros((rows, length), np.int32),
    response=np.zeros((rows, length), np.int32),
    source=np.zeros((rows, targets), np.int32),
    target=np.zeros((rows, targets), np.int32),
    target_response=np.zeros((rows, targets), np.int32),
    in_loss=np.zeros((rows, targets), bool),
    advantage=np.zeros((rows, targets), np.float32),
    sampler_logprob=np.zeros((rows, targets), np.float32),
    old_logprob=np.zeros((rows, targets), np.float32),
    reference_logprob=np.full((rows, targets), np.nan, np.float32),
    shared=shared,
  )
