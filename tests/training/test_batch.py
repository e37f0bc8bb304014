"""Padded and packed micro-batches against arrays written by hand."""

import jax
import numpy as np
import pytest

from srpo_jax.training.batch import first_fit, make_micro_batches, pack_micro_batches
from srpo_jax.types import Rollout


def rollout(prompt, tokens):
  return Rollout("p", 0, np.array(prompt, np.int32), np.array(tokens, np.int32), -np.array(tokens, np.float32), False)


def test_rows_targets_and_padding():
  # Token 0 and repeated tokens are real tokens here, because masks come from lengths.
  batches = make_micro_batches(
    [(rollout([5, 6], [7, 0, 0]), 0.5), (rollout([0, 1, 2, 3], [4, 8, 9]), -1.0), (rollout([1], [2]), 2.0)],
    rows=2,
    length_bucket=4,
  )
  assert [b.tokens.shape for b in batches] == [(2, 8), (2, 4)]
  assert [b.target.shape for b in batches] == [(2, 4), (2, 4)]
  long, short = batches
  np.testing.assert_array_equal(long.tokens, [[0, 1, 2, 3, 4, 8, 9, 0], [5, 6, 7, 0, 0, 0, 0, 0]])
  np.testing.assert_array_equal(long.segments, [[1] * 7 + [0], [1] * 5 + [0] * 3])
  np.testing.assert_array_equal(long.target, [[4, 8, 9, 0], [7, 0, 0, 0]])
  np.testing.assert_array_equal(long.source[:, :3], [[3, 4, 5], [1, 2, 3]])
  np.testing.assert_array_equal(long.in_loss, [[True] * 3 + [False]] * 2)
  np.testing.assert_array_equal(long.advantage, [[-1, -1, -1, 0], [0.5, 0.5, 0.5, 0]])
  np.testing.assert_array_equal(long.sampler_logprob[0, :3], [-4, -8, -9])
  np.testing.assert_array_equal(short.segments, [[1, 1, 0, 0], [0, 0, 0, 0]])
  np.testing.assert_array_equal(short.in_loss.sum(1), [1, 0])


def test_packed_rows():
  responses = [
    (rollout([5, 6], [7, 0, 0]), 0.5),
    (rollout([0, 1, 2, 3], [4, 8, 9]), -1.0),
    (rollout([1], [2]), 2.0),
    (rollout([3, 3], [1]), 3.0),
  ]
  # Sizes 5, 7, 2 and 3 go into rows of 8, longest first: 7 | 5 and 3 | 2. The row with the 7 has room for 1 token only.
  first, second = pack_micro_batches(responses, rows=2, row_tokens=8)
  np.testing.assert_array_equal(first.tokens, [[0, 1, 2, 3, 4, 8, 9, 0], [5, 6, 7, 0, 0, 3, 3, 1]])
  np.testing.assert_array_equal(first.segments, [[1] * 7 + [0], [1] * 5 + [2] * 3])
  np.testing.assert_array_equal(first.positions[1], [0, 1, 2, 3, 4, 0, 1, 2])
  np.testing.assert_array_equal(first.source[:, :4], [[3, 4, 5, 0], [1, 2, 3, 6]])
  np.testing.assert_array_equal(first.target[:, :4], [[4, 8, 9, 0], [7, 0, 0, 1]])
  np.testing.assert_array_equal(first.in_loss.sum(1), [3, 4])
  np.testing.assert_array_equal(first.advantage[:, :4], [[-1, -1, -1, 0], [0.5, 0.5, 0.5, 3]])
  np.testing.assert_array_equal(first.sampler_logprob[1, :4], [-7, 0, 0, -1])
  np.testing.assert_array_equal(second.segments, [[1, 1] + [0] * 6, [0] * 8])
  assert jax.tree.map(np.shape, first) == jax.tree.map(np.shape, second)
  assert pack_micro_batches([], rows=2, row_tokens=8) == []


def test_a_response_longer_than_a_row_is_refused():
  with pytest.raises(ValueError, match="5 tokens, expected at most 4"):
    pack_micro_batches([(rollout([5, 6], [7, 0, 0]), 0.5)], rows=1, row_tokens=4)


@pytest.mark.parametrize(
  "cut",
  [lambda r: make_micro_batches(r, rows=3, length_bucket=4), lambda r: pack_micro_batches(r, rows=2, row_tokens=16)],
)
def test_each_response_lies_whole_in_one_row(cut):
  """Losses that are computed over whole responses rely on this."""
  rng = np.random.default_rng(0)
  responses = [(rollout([1] * int(rng.integers(1, 5)), rng.integers(0, 9, i % 11 + 1)), float(i)) for i in range(1, 24)]
  found = {}  # advantage (unique to its response) -> (micro-batch, row, segment) of each of its tokens
  for place, batch in enumerate(cut(responses)):
    segment = np.take_along_axis(batch.segments, batch.source, axis=1)
    for row, target in np.argwhere(batch.in_loss):
      found.setdefault(float(batch.advantage[row, target]), []).append((place, row, segment[row, target]))
  assert {name: len(places) for name, places in found.items()} == {a: len(r.tokens) for r, a in responses}
  assert all(len(set(places)) == 1 for places in found.values())
  assert len({places[0] for places in found.values()}) == len(responses)


def test_a_response_without_tokens_is_refused():
  with pytest.raises(ValueError, match="0 targets"):
    make_micro_batches([(rollout([5, 6], []), 0.5)], rows=1, length_bucket=4)


def naive_first_fit(sizes, capacity):
  bins = []
  for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
    fitting = [b for b in bins if sum(sizes[j] for j in b) + sizes[i] <= capacity]
    fitting[0].append(i) if fitting else bins.append([i])
  return bins


def test_first_fit_matches_its_definition():
  rng = np.random.default_rng(0)
  for n in (0, 1, 2, 30, 200):
    sizes = rng.integers(1, 101, n).tolist()
    assert first_fit(sizes, 100) == naive_first_fit(sizes, 100)


def test_a_long_tail_packs_with_little_padding():
  """Lengths are a tenth of those in the published runs: mean 250, limit 1,024, with prompts of 10 to 59 tokens."""
  rng = np.random.default_rng(0)
  lengths = np.clip(rng.lognormal(5.2, 0.8, 2048), 1, 1024).astype(int)
  prompts = rng.integers(10, 60, 2048)
  responses = [(rollout([1] * int(p), [2] * int(n)), 1.0) for p, n in zip(prompts, lengths, strict=True)]
  batches = pack_micro_batches(responses, rows=8, row_tokens=1152)
  trained = sum(np.count_nonzero(b.segments) for b in batches)
  assert trained == sum(len(r.prompt_tokens) + len(r.tokens) for r, _ in responses)
  assert sum(b.segments.size for b in batches) < 1.05 * trained
  assert sum(int(b.in_loss.sum()) for b in batches) == lengths.sum()
  assert len({tuple(x.shape for x in jax.tree.leaves(b)) for b in batches}) == 1
