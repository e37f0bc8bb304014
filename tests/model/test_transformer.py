"""Compares the forward pass with transformers' Qwen2 on the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from srpo_jax.model import hf, transformer
from tests.helpers.checkpoints import make_checkpoint

SHAPES = {
  "tied": {},
  "untied": {"tie_word_embeddings": False, "num_key_value_heads": 1, "rope_theta": 1e6},
  "mha": {"hidden_size": 60, "num_attention_heads": 6, "num_key_value_heads": 6, "tie_word_embeddings": False},
}


@pytest.fixture(scope="module", params=SHAPES)
def models(request, tmp_path_factory):
  folder = make_checkpoint(tmp_path_factory.mktemp(request.param), seed=3, **SHAPES[request.param])
  config = hf.read_config(folder)
  theirs = transformers.Qwen2ForCausalLM.from_pretrained(folder).float().eval()
  return config, hf.load_params(folder, config), theirs


def logits(params, config, tokens, positions, segments):
  return np.asarray(transformer.logits(params, transformer.forward(params, config, tokens, positions, segments)))


def theirs_logits(model, tokens):
  with torch.no_grad():
    return model(torch.tensor(np.asarray(tokens))).logits.numpy()


def test_logits_equal_transformers(models):
  config, params, theirs = models
  tokens = np.random.default_rng(0).integers(0, config.vocab_size, (3, 23)).astype(np.int32)
  positions = np.tile(np.arange(23, dtype=np.int32), (3, 1))
  ours = logits(params, config, tokens, positions, np.ones_like(tokens))
  expected = theirs_logits(theirs, tokens)
  assert np.ptp(expected) > 1  # logits vary enough for the comparison to fail
  np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_real_token(models, side):
  config, params, theirs = models
  rng = np.random.default_rng(1)
  n, pad = 13, 6
  text = rng.integers(0, config.vocab_size, n).astype(np.int32)
  junk = rng.integers(0, config.vocab_size, pad).astype(np.int32)
  start = pad if side == "left" else 0
  row = np.concatenate([junk, text] if side == "left" else [text, junk])[None]
  segments, positions = np.zeros_like(row), np.zeros_like(row)
  segments[0, start : start + n] = 1
  positions[0, start : start + n] = np.arange(n)
  ours = logits(params, config, row, positions, segments)[0, start : start + n]
  np.testing.assert_allclose(ours, theirs_logits(theirs, text[None])[0], atol=1e-4)


def test_packed_segments_do_not_see_each_other(models):
  config, params, theirs = models
  rng = np.random.default_rng(2)
  texts = [rng.integers(0, config.vocab_size, n).astype(np.int32) for n in (7, 12, 5)]
  row = np.concatenate(texts)[None]
  segments = np.concatenate([np.full(len(t), i + 1, np.int32) for i, t in enumerate(texts)])[None]
  positions = np.concatenate([np.arange(len(t), dtype=np.int32) for t in texts])[None]
  ours = logits(params, config, row, positions, segments)[0]
  for i, text in enumerate(texts):
    np.testing.assert_allclose(ours[segments[0] == i + 1], theirs_logits(theirs, text[None])[0], atol=1e-4)


@pytest.mark.parametrize("remat", [name for name in transformer.REMAT_POLICIES if name != "none"])
def test_remat_keeps_the_gradient(models, remat):
  config, params, _ = models
  tokens = np.random.default_rng(3).integers(0, config.vocab_size, (2, 9)).astype(np.int32)
  positions = np.tile(np.arange(9, dtype=np.int32), (2, 1))

  def loss(params, policy):
    hidden = transformer.forward(params, config, tokens, positions, jnp.ones_like(tokens), remat=policy)
    return jnp.sum(jax.nn.log_softmax(transformer.logits(params, hidden))[..., 0])

  plain, again = (jax.grad(loss)(params, policy) for policy in ("none", remat))
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
    np.testing.assert_allclose(b, a, atol=1e-5 * float(jnp.abs(a).max()))
