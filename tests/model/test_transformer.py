"""Compares forward pass and decoding of every model family with transformers, on the same weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from srpo_jax.model import decode, hf, transformer
from tests.helpers.checkpoints import make_checkpoint

LONG, ROW = 520, 552  # tokens of a long text, so that rotary frequencies of every size matter, and of a row
STD = 0.18  # standard deviation of the weights, at which logits reach 5
SHAPES = {  # a head has hidden_size / heads features only in some of them
  "qwen2 tied": {},
  "qwen2 untied": {"tie_word_embeddings": False, "num_key_value_heads": 1, "rope_theta": 1e6, "head_dim": 10},
  "qwen2 mha": {"hidden_size": 60, "num_attention_heads": 6, "num_key_value_heads": 6, "tie_word_embeddings": False},
  "qwen3 tied": {"family": "qwen3", "head_dim": 16},
  "qwen3 untied": {
    "family": "qwen3",
    "tie_word_embeddings": False,
    "hidden_size": 60,
    "num_attention_heads": 6,
    "head_dim": 32,
    "rms_norm_eps": 1e-2,
  },
  "llama tied": {"family": "llama", "num_attention_heads": 6},
  "llama untied": {
    "family": "llama",
    "tie_word_embeddings": False,
    "num_key_value_heads": 1,
    "head_dim": 20,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
  },
  "llama 3.2": {  # the published frequencies
    "family": "llama",
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {
      "rope_type": "llama3",
      "rope_theta": 500_000.0,
      "factor": 32.0,
      "low_freq_factor": 1.0,
      "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192,
    },
  },
}


@pytest.fixture(scope="module", params=SHAPES)
def models(request, tmp_path_factory):
  folder = make_checkpoint(tmp_path_factory.mktemp("model"), seed=3, std=STD, **SHAPES[request.param])
  config = hf.read_config(folder)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).float().eval()
  return config, hf.load_params(folder, config), theirs


@functools.partial(jax.jit, static_argnames="config")
def compute(params, config, tokens, positions, segments):
  return transformer.logits(params, transformer.forward(params, config, tokens, positions, segments))


def logits(params, config, tokens, positions, segments):
  return np.asarray(compute(params, config, tokens, positions, segments))


def theirs_logits(model, tokens):
  with torch.no_grad():
    return model(torch.tensor(np.asarray(tokens), dtype=torch.long)).logits.numpy()


def random_tokens(config, *shape, seed=0):
  return np.random.default_rng(seed).integers(0, config.vocab_size, shape).astype(np.int32)


def counting(rows, n):
  return np.tile(np.arange(n, dtype=np.int32), (rows, 1))


def test_logits_equal_transformers(models):
  config, params, theirs = models
  tokens = random_tokens(config, 2, ROW)
  ours = logits(params, config, tokens, counting(2, ROW), np.ones_like(tokens))
  expected = theirs_logits(theirs, tokens)
  assert np.abs(expected).max() >= 5  # large enough for the comparison to fail
  np.testing.assert_allclose(ours, expected, atol=1e-4, rtol=0)


def test_padding_changes_no_real_token(models):
  """One row is padded on the left, the other on the right."""
  config, params, theirs = models
  text, rows = random_tokens(config, LONG, seed=1), random_tokens(config, 2, ROW, seed=2)
  segments, positions = np.zeros_like(rows), np.zeros_like(rows)
  parts = (0, slice(ROW - LONG, ROW)), (1, slice(0, LONG))
  for part in parts:
    rows[part], segments[part], positions[part] = text, 1, np.arange(LONG)
  ours, expected = logits(params, config, rows, positions, segments), theirs_logits(theirs, text[None])[0]
  for part in parts:
    np.testing.assert_allclose(ours[part], expected, atol=1e-4, rtol=0)


def test_packed_segments_do_not_see_each_other(models):
  config, params, theirs = models
  texts = [random_tokens(config, n, seed=n) for n in (7, LONG, 12, 13)]
  row = np.concatenate(texts)
  segments = np.concatenate([np.full(len(t), i + 1, np.int32) for i, t in enumerate(texts)])
  positions = np.concatenate([np.arange(len(t), dtype=np.int32) for t in texts])
  ours = logits(params, config, *(np.tile(x, (2, 1)) for x in (row, positions, segments)))[1]
  for i, text in enumerate(texts):
    expected = theirs_logits(theirs, text[None])[0]
    np.testing.assert_allclose(ours[segments == i + 1], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("models", ["qwen3 tied", "llama tied"], indirect=True)
def test_decoding_after_a_long_prompt_equals_transformers(models):
  """The log-probs of sampled tokens, drawn from a cache, are those of transformers over the whole text."""
  config, params, theirs = models
  prompt, slots, new = random_tokens(config, LONG - 9, seed=4), 2, 8
  padded = np.zeros(LONG, np.int32)
  padded[: len(prompt)] = prompt
  prefill = jax.jit(decode.prefill, static_argnums=1)
  prefix = prefill(params, config, padded, jnp.int32(len(prompt)), jax.random.key(0), jnp.int32(new), jnp.float32(1.0))
  state = decode.init_state(config, slots, LONG + new, new)
  state = decode.insert(prefix, state, jnp.arange(slots), jnp.arange(slots))
  state, chunk = jax.jit(functools.partial(decode.generate, config=config, stop_tokens=()))(params, state=state)
  rows = np.concatenate([np.tile(prompt, (slots, 1)), chunk.tokens], axis=1)
  expected = jax.nn.log_softmax(theirs_logits(theirs, rows)[:, len(prompt) - 1 : -1])
  expected = np.take_along_axis(np.asarray(expected), np.asarray(chunk.tokens)[..., None], axis=2)[..., 0]
  assert chunk.valid.all()
  np.testing.assert_allclose(state.logprobs, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
  ("models", "option"),
  [
    ("qwen2 tied", {"qkv_bias": False}),
    ("qwen3 tied", {"qk_norm": False}),
    ("llama tied", {"rope_scaling": None}),
    ("llama 3.2", {"rope_scaling": None}),
  ],
  indirect=["models"],
)
def test_each_option_moves_the_logits(models, option):
  config, params, _ = models
  tokens = random_tokens(config, 2, ROW)
  arguments = tokens, counting(2, ROW), np.ones_like(tokens)
  off = logits(params, dataclasses.replace(config, **option), *arguments)
  assert np.abs(off - logits(params, config, *arguments)).max() > 1e-2


@pytest.mark.parametrize("models", ["qwen2 untied", "qwen3 untied", "llama untied"], indirect=True)
def test_a_head_of_its_own_moves_the_logits(models):
  config, params, _ = models
  tokens = random_tokens(config, 2, ROW)
  arguments = config, tokens, counting(2, ROW), np.ones_like(tokens)
  tied = {name: leaf for name, leaf in params.items() if name != "head"}
  assert np.abs(logits(tied, *arguments) - logits(params, *arguments)).max() > 1e-2


def test_frequencies_in_each_band():
  """Worked by hand. Over 64 positions the pairs turn 16, 4, 2.5, 1 and 0.5 times, and 1 to 4 turns are between."""
  scaling = transformer.RopeScaling(8.0, 1.0, 4.0, 64)
  turns = np.array([16.0, 4.0, 2.5, 1.0, 0.5], np.float32)
  expected = np.array([16.0, 4.0, 2.5 * (0.5 + 0.5 / 8), 1 / 8, 0.5 / 8])
  np.testing.assert_allclose(scaling(jnp.asarray(turns * 2 * np.pi / 64)), expected * 2 * np.pi / 64, rtol=1e-6)


@pytest.mark.parametrize("models", ["qwen2 tied", "qwen3 untied"], indirect=True)
@pytest.mark.parametrize("remat", [name for name in transformer.REMAT_POLICIES if name != "none"])
def test_remat_keeps_the_gradient(models, remat):
  config, params, _ = models
  tokens = np.random.default_rng(3).integers(0, config.vocab_size, (2, 9)).astype(np.int32)
  positions = np.tile(np.arange(9, dtype=np.int32), (2, 1))

  def loss(params, policy):
    hidden = transformer.forward(params, config, tokens, positions, jnp.ones_like(tokens), remat=policy)
    return jnp.sum(jax.nn.log_softmax(transformer.logits(params, hidden))[..., 0])

  gradient = jax.jit(jax.grad(loss), static_argnums=1)
  plain, again = (gradient(params, policy) for policy in ("none", remat))
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
    np.testing.assert_allclose(b, a, atol=1e-5 * float(jnp.abs(a).max()))
