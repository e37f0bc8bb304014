"""Micro-batches, by hand."""

import numpy as np

from srpo_jax.batch import make_micro_batches
from srpo_jax.types import Rollout


def rollout(prompt, tokens):
  return Rollout("p", 0, np.array(prompt, np.int32), np.array(tokens, np.int32), -np.array(tokens, np.float32), False)


def test_rows_targets_and_padding():
  # Token 0 is a real token here, and so is a repeated one: masks come from lengths.
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
