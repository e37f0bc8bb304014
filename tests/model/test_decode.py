"""Compares decoding with the full forward pass on the same weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.model import decode, transformer

SLOTS, PROMPT, NEW, CHUNK = 256, 8, 12, 5
PROMPT_TOKENS = np.array([9, 30, 77, 120, 5], np.int32)


@pytest.fixture(scope="module")
def programs(model):
  config, _ = model
  return (
    jax.jit(functools.partial(decode.prefill, config=config)),
    jax.jit(decode.insert),
    jax.jit(functools.partial(decode.generate, config=config), static_argnames="stop_tokens"),
  )


def run(model, programs, *, temperature=1.0, max_new_tokens=NEW, stop=(), slots=SLOTS, seed=0):
  """Returns tokens and log-probs of `slots` samples of one prompt, each a list of at most `max_new_tokens`."""
  config, params = model
  prefill, insert, generate = programs
  padded = np.zeros(PROMPT, np.int32)
  padded[: len(PROMPT_TOKENS)] = PROMPT_TOKENS
  prefix = prefill(
    params,
    tokens=padded,
    length=jnp.int32(len(PROMPT_TOKENS)),
    key=jax.random.key(seed),
    max_new_tokens=jnp.int32(max_new_tokens),
    temperature=jnp.float32(temperature),
  )
  state = insert(prefix, decode.init_state(config, slots, PROMPT + NEW, CHUNK), jnp.arange(slots), jnp.arange(slots))
  tokens, logprobs = [[] for _ in range(slots)], [[] for _ in range(slots)]
  while state.active.any():
    state, out = generate(params, state=state, stop_tokens=stop)
    for s in range(slots):
      n = int(out.valid[s].sum())
      assert not out.valid[s, n:].any()
      tokens[s] += out.tokens[s, :n].tolist()
      logprobs[s] += state.logprobs[s, :n].tolist()
    assert out.lengths.tolist() == [len(t) for t in tokens]
  return tokens, logprobs


def full_logprobs(model, responses, temperature=1.0):
  """Returns [rows, n, V], the log-softmax of the full forward pass over prompt + response at each response position."""
  config, params = model
  rows = np.array([[*PROMPT_TOKENS, *r] for r in responses], np.int32)
  positions = np.tile(np.arange(rows.shape[1], dtype=np.int32), (len(rows), 1))
  hidden = transformer.forward(params, config, rows, positions, np.ones_like(rows))
  return jax.nn.log_softmax(transformer.logits(params, hidden) / temperature)[:, len(PROMPT_TOKENS) - 1 : -1]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_equal_the_full_forward(model, programs, temperature):
  tokens, logprobs = run(model, programs, temperature=temperature, slots=16)
  assert {len(t) for t in tokens} == {NEW}
  full = full_logprobs(model, tokens, temperature)
  expected = np.take_along_axis(np.asarray(full), np.array(tokens)[..., None], axis=2)[..., 0]
  np.testing.assert_allclose(np.array(logprobs), expected, atol=1e-4)


def test_greedy_is_the_argmax_of_the_full_forward(model, programs):
  tokens, _ = run(model, programs, temperature=0.0, slots=2)
  assert tokens[0] == tokens[1]
  full = np.sort(np.asarray(full_logprobs(model, tokens[:1])[0]), axis=-1)
  assert (full[:, -1] - full[:, -2] > 1e-4).all()  # without near ties the comparison is exact
  assert full_logprobs(model, tokens[:1])[0].argmax(-1).tolist() == tokens[0]


def test_first_and_later_tokens_of_a_group_follow_the_softmax(model, programs):
  """The total variation between frequencies and the softmax is near that of exact sampling."""
  seeds = 6
  samples = [t for seed in range(seeds) for t in run(model, programs, max_new_tokens=2, seed=seed, temperature=0.4)[0]]
  n = len(samples)
  assert n == seeds * SLOTS
  p = np.exp(np.asarray(full_logprobs(model, [samples[0][:1]], 0.4)[0, 0], np.float64))
  assert total_variation([t[0] for t in samples], p) < 1.5 * expected_variation(p, n)

  first = max(set(t[0] for t in samples), key=[t[0] for t in samples].count)
  second = [t[1] for t in samples if t[0] == first]
  p = np.exp(np.asarray(full_logprobs(model, [[first, 0]], 0.4)[0, 1], np.float64))
  assert len(second) >= 40
  assert total_variation(second, p) < 1.5 * expected_variation(p, len(second))
  assert len({tuple(t) for t in samples}) > n // 8  # samples of a group differ


def total_variation(tokens, p):
  return 0.5 * np.abs(np.bincount(tokens, minlength=len(p)) / len(tokens) - p).sum()


def expected_variation(p, n):
  rng = np.random.default_rng(0)
  return np.mean([total_variation(rng.choice(len(p), n, p=p / p.sum()), p) for _ in range(50)])


def test_stop_token_ends_a_response_and_belongs_to_it(model, programs):
  full, _ = run(model, programs, slots=64)
  stop = max({t for r in full for t in r[1:-1]}, key=[t for r in full for t in r].count)
  stopped, _ = run(model, programs, slots=64, stop=(stop,))
  assert any(stop in r[:-1] for r in full)
  for long, short in zip(full, stopped, strict=True):
    assert short == (long[: long.index(stop) + 1] if stop in long else long)


def test_max_new_tokens_is_exact(model, programs):
  full, _ = run(model, programs, slots=8)
  for limit in (1, CHUNK, CHUNK + 1):
    cut, _ = run(model, programs, slots=8, max_new_tokens=limit)
    assert cut == [t[:limit] for t in full]
