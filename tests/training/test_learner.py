"""The update matches a plain computation of the same loss, and does not depend on how the batch is cut."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from srpo_jax.model import transformer
from srpo_jax.training.batch import make_micro_batches, pack_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions, make_optimizer, micro_batch_loss
from srpo_jax.types import Rollout

ADAMW = {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.95, "eps": 1e-8, "weight_decay": 0.0, "clip_norm": 1.0}
OPTIONS = LearnerOptions(head_chunk=4)


@pytest.fixture(scope="module")
def rollouts(model):
  """Responses of very different lengths, so that micro-batches hold very different numbers of tokens."""
  rng = np.random.default_rng(0)

  def one(i):
    prompt, n = rng.integers(0, 384, rng.integers(2, 9)), [1, 3, 17, 2, 9, 5, 12][i]
    logprobs = rng.normal(-5, 1, n).astype(np.float32)
    return Rollout(str(i), 0, prompt.astype(np.int32), rng.integers(0, 384, n).astype(np.int32), logprobs, False)

  return [one(i) for i in range(7)]


ADVANTAGES = [1.5, -0.5, 0.0, 2.0, -1.0, 0.25, -2.0]


def cut(rollouts, rows, advantages=ADVANTAGES, length_bucket=32):
  return make_micro_batches(list(zip(rollouts, advantages, strict=True)), rows=rows, length_bucket=length_bucket)


def n_tokens(rollouts):
  return sum(len(r.tokens) for r in rollouts)


def plain_loss(params, config, rollouts, advantages=ADVANTAGES, temperature=1.0):
  """Computes the loss row by row, without padding, with all logits of a row at once."""
  total = 0.0
  for rollout, advantage in zip(rollouts, advantages, strict=True):
    row = jnp.concatenate([rollout.prompt_tokens, rollout.tokens])[None]
    hidden = transformer.forward(params, config, row, jnp.arange(row.shape[1])[None], jnp.ones_like(row))
    logprobs = jax.nn.log_softmax(transformer.logits(params, hidden)[0] / temperature)
    at = len(rollout.prompt_tokens) - 1 + np.arange(len(rollout.tokens))
    total += advantage * logprobs[at, rollout.tokens].sum()
  return -total / n_tokens(rollouts)


@functools.cache
def learner_of(config, options):
  """Returns a learner that keeps its compiled programs for all tests."""
  return Learner(config, optax.identity(), options)


def gradients(model, batches, n, options=OPTIONS):
  config, params = model
  learner = learner_of(config, options)
  total, loss = jax.tree.map(jnp.zeros_like, params), 0.0
  for batch in batches:
    total, stats = learner.accumulate(params, total, batch, np.float32(n), np.float32(7))
    loss += float(stats.loss)
  return total, loss


def assert_close(got, expected, tolerance=1e-5):
  """Asserts that each leaf is within `tolerance` times its largest expected magnitude."""
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))


@pytest.fixture(scope="module")
def expected(model, rollouts):
  config, params = model
  return jax.jit(jax.grad(lambda p: plain_loss(p, config, rollouts)))(params)


@pytest.mark.parametrize(("rows", "length_bucket"), [(1, 32), (2, 4), (3, 32), (7, 1), (10, 32)])
def test_gradient_is_the_same_however_the_batch_is_cut(model, rollouts, expected, rows, length_bucket):
  got, _ = gradients(model, cut(rollouts, rows, length_bucket=length_bucket), n_tokens(rollouts))
  assert_close(got, expected)


@pytest.mark.parametrize(("rows", "row_tokens"), [(1, 25), (2, 40), (1, 128)])
def test_gradient_is_the_same_packed(model, rollouts, expected, rows, row_tokens):
  batches = pack_micro_batches(list(zip(rollouts, ADVANTAGES, strict=True)), rows=rows, row_tokens=row_tokens)
  assert max(int(b.segments.max()) for b in batches) >= 2  # some responses share a row
  got, loss = gradients(model, batches, n_tokens(rollouts))
  assert_close(got, expected)
  assert loss == pytest.approx(gradients(model, cut(rollouts, 3), n_tokens(rollouts))[1], rel=1e-5)


def test_attention_between_packed_responses_would_be_noticed(model, rollouts, expected):
  (batch,) = pack_micro_batches(list(zip(rollouts, ADVANTAGES, strict=True)), rows=1, row_tokens=128)
  wrong = gradients(model, [batch._replace(segments=np.minimum(batch.segments, 1))], n_tokens(rollouts))[0]
  with pytest.raises(AssertionError):
    assert_close(wrong, expected, 1e-2)


def test_packed_batches_compile_once(model, rollouts):
  config, params = model
  learner = Learner(config, make_optimizer(**ADAMW), OPTIONS)
  state = learner.init(jax.tree.map(jnp.copy, params))
  for some in (rollouts, rollouts[:2], rollouts[3:]):
    batches = pack_micro_batches([(r, 1.0) for r in some], rows=2, row_tokens=32)
    state, _ = learner.update(state, batches, n_tokens(some), len(some))
  assert learner.accumulate._cache_size() == 1


def test_normalising_per_micro_batch_would_be_noticed(model, rollouts, expected):
  batches = cut(rollouts, 2)
  parts = [gradients(model, [b], int(b.in_loss.sum()))[0] for b in batches]
  wrong = jax.tree.map(lambda *leaves: sum(leaves) / len(batches), *parts)
  with pytest.raises(AssertionError):
    assert_close(wrong, expected, 1e-2)


def test_temperature_divides_the_trainers_logits(model, rollouts):
  config, params = model
  options = dataclasses.replace(OPTIONS, temperature=0.7)
  few, advantages = rollouts[:2], ADVANTAGES[:2]
  got, _ = gradients(model, cut(few, 3, advantages), n_tokens(few), options)
  expected = jax.jit(jax.grad(lambda p: plain_loss(p, config, few, advantages, temperature=0.7)))(params)
  assert_close(got, expected)


def test_a_response_without_advantage_may_be_left_out(model, rollouts, expected):
  kept = [i for i, advantage in enumerate(ADVANTAGES) if advantage]
  batches = cut([rollouts[i] for i in kept], 3, [ADVANTAGES[i] for i in kept])
  assert_close(gradients(model, batches, n_tokens(rollouts))[0], expected)


def test_update_is_one_adamw_step_after_a_norm_clip(model, rollouts, expected):
  config, params = model
  learner = Learner(config, make_optimizer(**ADAMW), OPTIONS)
  copy = jax.tree.map(jnp.copy, params)
  state, metrics = learner.update(learner.init(copy), cut(rollouts, 3), n_tokens(rollouts), 7)
  norm = float(np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(expected))))
  assert metrics.grad_norm == pytest.approx(norm, rel=1e-4)
  # AdamW's first step by hand: the moments (1 - b) g and (1 - b) g^2 are bias-corrected back to g and g^2.
  for new, old, g in zip(*map(jax.tree.leaves, (state.params, params, expected)), strict=True):
    g = np.asarray(g) * min(1.0, 1.0 / norm)
    step = np.asarray(new - old)
    strong = np.abs(g) > 1e-3 * np.abs(g).max()
    np.testing.assert_allclose(step[strong], (-1e-2 * g / (np.abs(g) + 1e-8))[strong], atol=1e-4)
  sampler = np.concatenate([r.logprobs for r in sorted(rollouts, key=lambda r: -len(r.prompt_tokens) - len(r.tokens))])
  assert metrics.gap.shape == sampler.shape


def test_off_policy_ratio_reads_the_old_logprobs(model, rollouts):
  """Old log-probs lowered by log 1.1 make every ratio 1.1 and scale the gradient by it. Log 1.5 clips every token."""
  config, params = model
  options = dataclasses.replace(OPTIONS, on_policy=False)
  learner = Learner(config, optax.identity(), options)
  batches = learner.with_old_logprobs(params, cut(rollouts, 7, [1.0] * 7))
  n = n_tokens(rollouts)
  on_policy, _ = gradients(model, batches, n)

  def shifted(by):
    return gradients(model, [b._replace(old_logprob=b.old_logprob - np.float32(by)) for b in batches], n, options)

  assert_close(shifted(0.0)[0], on_policy)
  assert_close(shifted(np.log(1.1))[0], jax.tree.map(lambda g: 1.1 * g, on_policy), 1e-4)
  assert shifted(np.log(1.1))[1] == pytest.approx(-1.1, rel=1e-4)
  assert all(not leaf.any() for leaf in jax.tree.leaves(shifted(np.log(1.5))[0]))
  _, metrics = learner.update(
    learner.init(jax.tree.map(jnp.copy, params)),
    [b._replace(old_logprob=b.old_logprob - np.float32(np.log(1.5))) for b in batches],
    n,
    7,
  )
  assert metrics.clip_frac == 1.0


def test_importance_cap(model, rollouts):
  config, params = model
  n = n_tokens(rollouts)
  (batch,) = cut(rollouts, 7, [1.0] * 7)
  exact = Learner(config, optax.identity(), OPTIONS).logprobs(params, batch)
  batch = batch._replace(sampler_logprob=np.asarray(exact) + np.float32(np.log(2)))  # weight 1/2
  capped = dataclasses.replace(OPTIONS, importance_cap=2.0)
  plain, _ = gradients(model, [batch], n)
  assert_close(gradients(model, [batch], n, capped)[0], jax.tree.map(lambda g: 0.5 * g, plain), 1e-4)
  batch = batch._replace(sampler_logprob=np.asarray(exact) - np.float32(np.log(8)))  # weight 8, capped at 2
  assert_close(gradients(model, [batch], n, capped)[0], jax.tree.map(lambda g: 2 * g, plain), 1e-4)


def test_entropy_and_gap_of_the_metrics(model, rollouts):
  config, params = model
  learner = Learner(config, make_optimizer(**ADAMW), OPTIONS)
  few = rollouts[1:3]
  _, metrics = learner.update(learner.init(jax.tree.map(jnp.copy, params)), cut(few, 3, [1.0, -1.0]), n_tokens(few), 2)
  entropies, gaps = [], []
  for r in few:
    row = jnp.concatenate([r.prompt_tokens, r.tokens])[None]
    hidden = transformer.forward(params, config, row, jnp.arange(row.shape[1])[None], jnp.ones_like(row))
    logp = np.asarray(jax.nn.log_softmax(transformer.logits(params, hidden)[0]))[len(r.prompt_tokens) - 1 : -1]
    entropies += (-(np.exp(logp) * logp).sum(-1)).tolist()
    gaps += np.abs(logp[np.arange(len(r.tokens)), r.tokens] - r.logprobs).tolist()
  assert metrics.entropy == pytest.approx(np.mean(entropies), rel=1e-4)
  np.testing.assert_allclose(sorted(metrics.gap), sorted(gaps), atol=1e-4)


@pytest.mark.parametrize("remat", list(transformer.REMAT_POLICIES))
def test_no_array_of_batch_time_vocab_in_the_update(model, rollouts, remat):
  config, params = model
  (batch,) = cut(rollouts, 7)
  rows, targets = batch.target.shape
  options = dataclasses.replace(OPTIONS, remat=remat)

  def largest(options):
    """Returns the size of the compiled update's largest array with a vocabulary axis, the embedding excluded."""
    n = jnp.float32(9)
    grad = jax.jit(jax.grad(lambda p: micro_batch_loss(p, batch, n, n, config=config, options=options)[0]))
    text = grad.lower(params).compile().as_text()
    shapes = {tuple(map(int, s.split(","))) for s in re.findall(r"f32\[([\d,]+)\]", text)}
    with_vocab = [s for s in shapes if config.vocab_size in s and config.hidden_size not in s]
    return max(int(np.prod(s)) for s in with_vocab)

  assert largest(options) <= rows * options.head_chunk * config.vocab_size
  # Proof that the search works: a single chunk does produce an array of batch x time x vocab.
  assert largest(dataclasses.replace(options, head_chunk=targets)) >= rows * targets * config.vocab_size
