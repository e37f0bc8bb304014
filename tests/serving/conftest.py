"""Fixtures of the tests of serving."""

import numpy as np
import pytest

from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.serving.requests import draw_key
from tests.helpers.servers import BUCKET, CHUNK, MAX_PROMPT, STOP, serving


@pytest.fixture(scope="package")
def server(model, checkpoint):
  with serving(model, checkpoint) as server:
    yield server


@pytest.fixture(scope="package")
def offline(model):
  """Returns a function that samples the responses to a prompt with `sample_groups`, in the order of their samples."""
  config, params = model
  engine = InProcessEngine(config, slots=8, max_prompt=MAX_PROMPT, max_new=64, chunk=CHUNK, stop_tokens=STOP, group=4)

  def sample(tokens, *, seed=0, temperature=1.0, samples=1, budget=64):
    asked = GroupRequest("", np.asarray(tokens, np.int32), samples, draw_key(seed), budget, temperature)
    out = sample_groups(engine, params, [asked], stop_tokens=STOP, prompt_bucket=BUCKET)
    return sorted(out, key=lambda rollout: rollout.sample)

  return sample
