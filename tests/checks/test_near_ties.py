"""Distance of a draw from another token, against the CDF of the full forward pass."""

import dataclasses

import jax
import numpy as np
import pytest

from srpo_jax.checks.near_ties import draw_distance, first_difference
from srpo_jax.model import transformer
from srpo_jax.model.sampling import Purpose, prompt_key, uniforms
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups

KEY = prompt_key(7, Purpose.EVAL, 0, "p")
NEVER = 10**6  # a stop token that the model does not have
HOT = 1.5


@pytest.fixture(scope="module")
def rollout(model):
  """Sample 2 of a prompt, eight tokens long."""
  config, params = model
  engine = InProcessEngine(config, slots=3, max_prompt=4, max_new=8, chunk=4, stop_tokens=(NEVER,), group=3)
  request = GroupRequest("p", np.array([5, 6, 7], np.int32), 3, KEY, 8, HOT)
  found = sample_groups(engine, params, [request], stop_tokens=(NEVER,), prompt_bucket=4)
  return max(found, key=lambda rollout: rollout.sample)


def changed(rollout, at, token):
  tokens = rollout.tokens.copy()
  tokens[at] = token
  return dataclasses.replace(rollout, tokens=tokens)


@pytest.mark.parametrize("at", [0, 3, 7])
@pytest.mark.parametrize("step", [-1, 1])
def test_the_distance_is_that_of_the_uniform_to_the_other_tokens_interval(model, rollout, at, step):
  config, params = model
  tokens = np.concatenate([rollout.prompt_tokens, rollout.tokens[:at]])[None]
  hidden = transformer.forward(params, config, tokens, np.arange(tokens.shape[1])[None], np.ones_like(tokens))
  upper = np.cumsum(np.asarray(jax.nn.softmax(transformer.logits(params, hidden)[0, -1] / HOT), np.float64))
  u = float(uniforms(jax.random.fold_in(KEY, 2)[None], np.array([at]))[0])
  token = rollout.tokens[at]
  edge = upper[token] if step > 0 else upper[token - 1]
  other = changed(rollout, at, token + step)
  for pair in ((rollout, other), (other, rollout)):
    found = draw_distance(params, config, *pair, key=KEY, temperature=HOT)
    assert found == pytest.approx(abs(edge - u), abs=1e-5)


def test_equal_and_shorter_responses(model, rollout):
  config, params = model
  short = dataclasses.replace(rollout, tokens=rollout.tokens[:5])
  assert [first_difference(rollout, other) for other in (rollout, short)] == [None, 5]
  assert first_difference(rollout, changed(rollout, 3, 0)) == 3
  ask = {"key": KEY, "temperature": HOT}
  assert draw_distance(params, config, rollout, rollout, **ask) == 0.0
  assert draw_distance(params, config, rollout, short, **ask) == float("inf")
