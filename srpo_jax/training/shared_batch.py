"""Makes micro-batches whose responses share the computation of their prompt (see model/shared_prompts.py).

The last token of a response predicts nothing, so a row holds a response without it.

Axes: P prompt columns of a row, S responses of a row, R columns of a response.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from srpo_jax.model.shared_prompts import SharedPrompts
from srpo_jax.training.batch import Response, empty_micro_batch, make_micro_batches, pack_micro_batches
from srpo_jax.training.learner import MicroBatch
from srpo_jax.utils.rounding import round_up

Group = list[Response]  # responses to one prompt, longest first


class _Grid(NamedTuple):
  """A micro-batch before it is filled: rows of one prompt with at most S of its responses each."""

  rows: list[Group]
  prompt: int  # P
  response: int  # R


def share_micro_batches(
  responses: Sequence[Response], *, rows: int, length_bucket: int, row_multiple: int
) -> list[MicroBatch]:
  """Returns micro-batches of at most `rows` responses, whose rows hold one prompt and S of its responses.

  S is chosen so that the fewest tokens are computed, padding included. Where sharing saves nothing, the result is that
  of `make_micro_batches`.

  Args:
    responses: responses whose tokens are in the loss.
    rows: number of responses in a micro-batch.
    length_bucket: P and S R are rounded up to multiples of it.
    row_multiple: number of rows in a micro-batch is a multiple of it.
  """
  unshared = make_micro_batches(responses, rows=rows, length_bucket=length_bucket)
  groups = _groups(responses)
  best, fewest = None, sum(batch.tokens.size for batch in unshared)
  for per_row in _row_sizes(rows // row_multiple, groups):
    n_rows = rows // per_row // row_multiple * row_multiple
    grids = _grids(groups, per_row, n_rows, length_bucket)
    computed = sum(n_rows * (grid.prompt + per_row * grid.response) for grid in grids)
    if computed < fewest:
      best, fewest = (grids, n_rows, per_row), computed
  if best is None:
    return unshared
  grids, n_rows, per_row = best
  return [_grid_batch(grid, n_rows, per_row) for grid in grids]


def pack_shared_micro_batches(responses: Sequence[Response], *, rows: int, row_tokens: int) -> list[MicroBatch]:
  """Returns micro-batches of `rows` rows of `row_tokens` tokens, packed with prompts and their responses.

  Where sharing needs as many micro-batches as `pack_micro_batches`, the result is that of `pack_micro_batches`.

  Args:
    responses: responses whose tokens are in the loss.

  Raises:
    ValueError: a response is longer than a row.
  """
  packed = _pack(_groups(responses), row_tokens)
  unshared = pack_micro_batches(responses, rows=rows, row_tokens=row_tokens)
  if -(-len(packed) // rows) >= len(unshared):
    return unshared
  parts = [packed[start : start + rows] for start in range(0, len(packed), rows)]
  return [_packed_batch(part, rows, row_tokens) for part in parts]


def _groups(responses: Sequence[Response]) -> list[Group]:
  """Returns the responses by prompt, the longest of each prompt first."""
  groups: dict[bytes, Group] = {}
  for response in responses:
    groups.setdefault(response[0].prompt_tokens.tobytes(), []).append(response)
  return [sorted(group, key=lambda response: -len(response[0].tokens)) for group in groups.values()]


def _row_sizes(most: int, groups: Sequence[Group]) -> Iterator[int]:
  """Yields the values of S to compare: the size of the largest group, and powers of two."""
  largest = min(most, max(map(len, groups), default=1))
  if largest > 1:
    yield largest
  yield from (2**i for i in range(1, largest.bit_length()) if 2**i < largest)


def _grids(groups: Sequence[Group], per_row: int, n_rows: int, length_bucket: int) -> list[_Grid]:
  """Cuts the groups into rows and puts rows of similar length into one micro-batch."""
  rows = [group[start : start + per_row] for group in groups for start in range(0, len(group), per_row)]
  rows.sort(key=lambda row: (-len(row[0][0].tokens), -len(row[0][0].prompt_tokens)))
  step = max(length_bucket // per_row, 1)
  grids = []
  for start in range(0, len(rows), n_rows):
    part = rows[start : start + n_rows]
    prompt = max(len(row[0][0].prompt_tokens) for row in part)
    response = max(len(row[0][0].tokens) - 1 for row in part)
    grids.append(_Grid(part, round_up(prompt, length_bucket), round_up(max(response, 1), step)))
  return grids


def _grid_batch(grid: _Grid, n_rows: int, per_row: int) -> MicroBatch:
  p, r = grid.prompt, grid.response
  layout = SharedPrompts(prompt=p, response=r)
  batch = empty_micro_batch(n_rows, p + per_row * r, per_row * (r + 1), layout)
  for row, group in enumerate(grid.rows):
    _put_prompt(batch, row, 0, 1, group[0])
    for i, response in enumerate(group):
      _put_response(batch, row, p + i * r, i * (r + 1), i + 1, 1, len(response[0].prompt_tokens) - 1, response)
  return batch


def _packed_batch(packed: Sequence[Sequence[Group]], rows: int, row_tokens: int) -> MicroBatch:
  batch = empty_micro_batch(rows, row_tokens, row_tokens, SharedPrompts())
  for row, groups in enumerate(packed):
    column = target = number = 0
    for segment, group in enumerate(groups, 1):
      _put_prompt(batch, row, column, segment, group[0])
      column += len(group[0][0].prompt_tokens)
      last = column - 1  # of the prompt, predicts the first token of each response
      for response in group:
        number += 1
        _put_response(batch, row, column, target, number, segment, last, response)
        column, target = column + len(response[0].tokens) - 1, target + len(response[0].tokens)
  return batch


def _put_prompt(batch: MicroBatch, row: int, column: int, segment: int, response: Response) -> None:
  prompt = response[0].prompt_tokens
  at = (row, slice(column, column + len(prompt)))
  batch.tokens[at], batch.positions[at], batch.segments[at] = prompt, np.arange(len(prompt)), segment


def _put_response(
  batch: MicroBatch, row: int, column: int, target: int, number: int, segment: int, last: int, response: Response
) -> None:
  """Writes a response from `column` and its targets from `target`. `last` is the column of its prompt's last token."""
  rollout, advantage = response
  n = len(rollout.tokens)
  if not n:
    raise ValueError("a response of 0 targets, expected at least one token")
  at, targets = (row, slice(column, column + n - 1)), (row, slice(target, target + n))
  batch.tokens[at] = rollout.tokens[:-1]
  batch.positions[at] = len(rollout.prompt_tokens) + np.arange(n - 1)
  batch.segments[at], batch.response[at] = segment, number
  batch.source[targets] = [last, *range(column, column + n - 1)]
  batch.target[targets], batch.in_loss[targets], batch.target_response[targets] = rollout.tokens, True, number
  batch.advantage[targets], batch.sampler_logprob[targets] = advantage, rollout.logprobs


def _pack(groups: Sequence[Group], row_tokens: int) -> list[list[Group]]:
  """Packs groups into rows, the largest group first, and splits a group where a row ends.

  A row takes the responses of a group that fill its room best. A part of a group takes the tokens of its prompt and of
  its responses. Rows with room left are tried before a new row is opened.

  Raises:
    ValueError: a prompt and a response are longer than a row.
  """
  rows: list[list[Group]] = []
  room: list[int] = []
  for group in sorted(groups, key=lambda group: -_size(group)):
    prompt, left = len(group[0][0].prompt_tokens), list(group)
    if _size(left[:1]) > row_tokens:
      raise ValueError(f"{_size(left[:1])} tokens, expected at most {row_tokens}")
    for row in itertools.count():
      if not left:
        break
      if row == len(rows):
        rows.append([])
        room.append(row_tokens)
      if room[row] - prompt >= len(left[-1][0].tokens):  # the shortest fits
        chosen = best_fill([len(rollout.tokens) for rollout, _ in left], room[row] - prompt)
        rows[row].append([left[i] for i in chosen])
        room[row] -= _size(rows[row][-1])
        left = [response for i, response in enumerate(left) if i not in chosen]
  return rows


def _size(group: Group) -> int:
  return len(group[0][0].prompt_tokens) + sum(len(rollout.tokens) for rollout, _ in group)


def best_fill(sizes: Sequence[int], room: int) -> list[int]:
  """Returns the indices of the items whose total is the largest that is at most `room`.

  Among equal totals, it takes items that come first. The set of reachable totals is kept as the bits of an integer.

  Args:
    sizes: positive numbers.
  """
  if room <= 0:
    return []
  if sum(sizes) <= room:
    return list(range(len(sizes)))
  within = (1 << (room + 1)) - 1
  reachable = [1]  # after each item, bit t: some of the items so far have the total t
  for size in sizes:
    reachable.append((reachable[-1] | reachable[-1] << size) & within)
  total, chosen = reachable[-1].bit_length() - 1, []
  for i in range(len(sizes) - 1, -1, -1):
    if not reachable[i] >> total & 1:  # not reachable without item i
      chosen.append(i)
      total -= sizes[i]
  return chosen[::-1]
