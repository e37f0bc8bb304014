"""Micro-batches with shared prompts: arrays written by hand, and the update of rows that repeat each prompt."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import tiny
from srpo_jax.config import make_config
from srpo_jax.model.shared_prompts import SharedPrompts
from srpo_jax.training import update
from srpo_jax.training.batch import make_micro_batches, pack_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions
from srpo_jax.training.shared_batch import best_fill, pack_shared_micro_batches, share_micro_batches
from srpo_jax.types import Rollout
from tests.helpers.kernels import HOPPER, as_on


def rollout(prompt, tokens):
  return Rollout("p", 0, np.array(prompt, np.int32), np.array(tokens, np.int32), -np.array(tokens, np.float32), False)


def make_responses(seed, sizes, prompt=(2, 9), vocabulary=384):
  """Returns responses with random tokens and advantages to random prompts, in random order.

  Args:
    sizes: lengths of the responses to each prompt.
    prompt: smallest length of a prompt, and one more than the largest.
  """
  rng, found = np.random.default_rng(seed), []
  for lengths in sizes:
    tokens = rng.integers(0, vocabulary, rng.integers(*prompt))
    found += [(rollout(tokens, rng.integers(0, vocabulary, n)), float(rng.normal())) for n in lengths]
  return [found[i] for i in rng.permutation(len(found))]


def test_a_grid():
  responses = [
    (rollout([5, 6], [7, 0]), 0.5),
    (rollout([1, 2, 3], [4]), -1.0),
    (rollout([5, 6], [7, 8, 9]), 2.0),
    (rollout([1, 2, 3], [0, 4, 6]), 1.0),
  ]
  (batch,) = share_micro_batches(responses, rows=4, length_bucket=1, row_multiple=1)
  # Columns: a prompt of up to 3 tokens, then two responses of up to 3 tokens without their last.
  assert batch.shared == SharedPrompts(prompt=3, response=2)
  np.testing.assert_array_equal(batch.tokens, [[1, 2, 3, 0, 4, 0, 0], [5, 6, 0, 7, 8, 7, 0]])
  np.testing.assert_array_equal(batch.segments, [[1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 1, 1, 1, 0]])
  np.testing.assert_array_equal(batch.response, [[0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 2, 0]])
  np.testing.assert_array_equal(batch.positions[0, :5], [0, 1, 2, 3, 4])
  np.testing.assert_array_equal(batch.positions[1, [0, 1, 3, 4, 5]], [0, 1, 2, 3, 2])
  np.testing.assert_array_equal(batch.in_loss, [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
  np.testing.assert_array_equal(batch.target[batch.in_loss], [0, 4, 6, 4, 7, 8, 9, 7, 0])
  np.testing.assert_array_equal(batch.source[batch.in_loss], [2, 3, 4, 2, 1, 3, 4, 1, 5])
  np.testing.assert_array_equal(batch.target_response, [[1, 1, 1, 2, 0, 0], [1, 1, 1, 2, 2, 0]])
  np.testing.assert_array_equal(batch.advantage[batch.in_loss], [1, 1, 1, -1, 2, 2, 2, 0.5, 0.5])
  np.testing.assert_array_equal(batch.sampler_logprob[batch.in_loss], [0, -4, -6, -4, -7, -8, -9, -7, 0])


def test_packed_groups():
  responses = [
    (rollout([5, 6], [7, 8, 9]), 2.0),
    (rollout([1], [4, 2]), -1.0),
    (rollout([5, 6], [7]), 0.5),
    (rollout([5, 6], [7, 8, 9, 1]), 3.0),
  ]
  # Unshared rows hold 5, 3, 3 and 6 tokens, so 13 tokens a row need two rows. Shared, 2 + 4 + 3 + 1 and 1 + 2 fit one.
  (batch,) = pack_shared_micro_batches(responses, rows=1, row_tokens=13)
  assert batch.shared == SharedPrompts()
  np.testing.assert_array_equal(batch.tokens, [[5, 6, 7, 8, 9, 7, 8, 1, 4, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.segments, [[1, 1, 1, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.response, [[0, 0, 1, 1, 1, 2, 2, 0, 4, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.positions[0, :9], [0, 1, 2, 3, 4, 2, 3, 0, 1])
  np.testing.assert_array_equal(batch.target[batch.in_loss], [7, 8, 9, 1, 7, 8, 9, 7, 4, 2])
  np.testing.assert_array_equal(batch.source[batch.in_loss], [1, 2, 3, 4, 1, 5, 6, 1, 7, 8])
  np.testing.assert_array_equal(batch.target_response[batch.in_loss], [1, 1, 1, 1, 2, 2, 2, 3, 4, 4])


def gradients(model, batches, n, options):
  """Returns (loss, gradient, advantage -> log-probs of the response) of the batches."""
  config, params = model
  learner = Learner(config, optax.identity(), options)
  total, loss, logprobs = jax.tree.map(jnp.zeros_like, params), 0.0, {}
  for batch in batches:
    total, stats = learner.accumulate(params, total, batch, np.float32(n), np.float32(9))
    loss += float(stats.loss)
    for row, target in np.argwhere(batch.in_loss):
      logprobs.setdefault(float(batch.advantage[row, target]), []).append(float(stats.logprob[row, target]))
  return loss, total, logprobs


SIZES = ((1, 9, 5, 3), (2,), (17, 1, 1), (6, 6, 6, 6, 7), (12, 4))


@pytest.mark.parametrize("remat", ["none", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
  "share",
  [
    lambda r: share_micro_batches(r, rows=16, length_bucket=4, row_multiple=1),
    pytest.param(lambda r: share_micro_batches(r, rows=4, length_bucket=1, row_multiple=2), marks=pytest.mark.slow),
    lambda r: pack_shared_micro_batches(r, rows=1, row_tokens=60),
    pytest.param(lambda r: pack_shared_micro_batches(r, rows=2, row_tokens=27), marks=pytest.mark.slow),
  ],
  ids=["grid", "small grid", "packed", "small rows"],
)
def test_loss_and_gradient_are_those_of_rows_that_repeat_the_prompt(model, share, remat):
  responses = make_responses(0, SIZES)
  options = LearnerOptions(head_chunk=4, remat=remat)
  n = sum(len(r.tokens) for r, _ in responses)
  batches = share(responses)
  assert any(batch.shared is not None for batch in batches)
  unshared = make_micro_batches(responses, rows=5, length_bucket=4)
  loss, total, logprobs = gradients(model, unshared, n, options)
  found_loss, found, found_logprobs = gradients(model, batches, n, options)
  assert found_loss == pytest.approx(loss, rel=1e-5)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(total), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))
  assert found_logprobs.keys() == logprobs.keys()
  for advantage, of_response in logprobs.items():
    np.testing.assert_allclose(found_logprobs[advantage], of_response, atol=1e-4)


@pytest.mark.parametrize("wrong", ["response", "segments"])
def test_a_wrong_mask_would_be_noticed(model, wrong):
  """Lets a response see the others of its prompt, or the other prompts of its row."""
  responses = make_responses(0, SIZES)
  (batch,) = pack_shared_micro_batches(responses, rows=1, row_tokens=130)
  assert batch.shared is not None
  options = LearnerOptions(head_chunk=4)
  masks = {"response": np.minimum(batch.response, 1), "segments": np.minimum(batch.segments, 1)}
  logprobs = gradients(model, [batch], 1, options)[2]
  found = gradients(model, [batch._replace(**{wrong: masks[wrong]})], 1, options)[2]
  assert max(np.abs(np.subtract(found[key], logprobs[key])).max() for key in logprobs) > 1e-2


def test_sharing_never_computes_more_tokens():
  rng = np.random.default_rng(0)
  for seed in range(60):
    sizes = [rng.integers(1, 40, rng.integers(1, 9)).tolist() for _ in range(rng.integers(1, 7))]
    responses = make_responses(seed, sizes, prompt=(1, int(rng.integers(2, 60))))
    rows, bucket = int(rng.choice([4, 6, 8, 16])), int(rng.choice([1, 4, 16]))
    pairs = [
      (
        share_micro_batches(responses, rows=rows, length_bucket=bucket, row_multiple=2),
        make_micro_batches(responses, rows=rows, length_bucket=bucket),
      ),
      (
        pack_shared_micro_batches(responses, rows=2, row_tokens=100),
        pack_micro_batches(responses, rows=2, row_tokens=100),
      ),
    ]
    for shared, unshared in pairs:
      assert sum(b.tokens.size for b in shared) <= sum(b.tokens.size for b in unshared)
      assert all(b.tokens.shape[0] % 2 == 0 for b in shared)
      tokens = sorted(len(r.tokens) for r, _ in responses)
      places = [
        (i, row, n) for i, b in enumerate(shared) for row in range(len(b.tokens)) for n in b.target_response[row]
      ]
      counts: dict[tuple[int, int, int], int] = {}
      for place in places:
        counts[place] = counts.get(place, 0) + 1
      assert sorted(n for place, n in counts.items() if place[2]) == tokens  # each response whole, in one row


def test_rows_of_the_published_lengths_fall_by_six_percent():
  """Prompts of 256 tokens, 32 responses each, lognormal with mean 2,500 and sigma 0.8, cut at 10,240."""
  rng = np.random.default_rng(0)
  lengths = np.clip(rng.lognormal(np.log(2500) - 0.32, 0.8, (64, 32)), 1, 10240).astype(int)
  responses = make_responses(0, lengths.tolist(), prompt=(256, 257))
  sizes = {"rows": 1, "row_tokens": 11264}
  shared, unshared = (pack(responses, **sizes) for pack in (pack_shared_micro_batches, pack_micro_batches))
  assert len(shared) <= 0.94 * len(unshared)


def test_best_fill_against_all_subsets():
  rng = np.random.default_rng(0)
  for _ in range(200):
    sizes = rng.integers(1, 12, rng.integers(1, 8)).tolist()
    room = int(rng.integers(-1, 40))
    totals = {sum(s for i, s in enumerate(sizes) if mask >> i & 1) for mask in range(2 ** len(sizes))}
    chosen = best_fill(sizes, room)
    assert len(set(chosen)) == len(chosen)
    assert sum(sizes[i] for i in chosen) == max((t for t in totals if t <= room), default=0)


def test_where_nothing_is_shared_the_rows_stay_as_they_are():
  responses = make_responses(0, [[3], [5], [2]])
  for pair in (
    (
      share_micro_batches(responses, rows=2, length_bucket=4, row_multiple=1),
      make_micro_batches(responses, rows=2, length_bucket=4),
    ),
    (pack_shared_micro_batches(responses, rows=2, row_tokens=40), pack_micro_batches(responses, rows=2, row_tokens=40)),
  ):
    jax.tree.map(np.testing.assert_array_equal, *pair)


@pytest.mark.parametrize("pack_tokens", [0, 1200])
def test_the_config_and_the_device_decide(pack_tokens):
  raw = tiny.get_config()
  raw.train.pack_tokens, raw.train.micro_batch = pack_tokens, 1 if pack_tokens else 4
  config = make_config(raw)
  responses = make_responses(0, [[30] * 8] * 4, prompt=(60, 61))

  def is_shared(config):
    return {batch.shared is not None for batch in update.micro_batches(responses, config)}

  assert is_shared(config) == {True}
  assert is_shared(dataclasses.replace(config, train=dataclasses.replace(config.train, share_prompts=False))) == {False}
  with as_on(HOPPER):
    assert is_shared(config) == {False}


def test_a_response_that_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="5 tokens, expected at most 3"):
    pack_shared_micro_batches([(rollout([5, 6], [7, 0, 0]), 0.5)], rows=1, row_tokens=3)
