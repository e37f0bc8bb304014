"""Loads a policy into the serving driver."""

import dataclasses
from typing import cast

import jax

from srpo_jax.config import Config
from srpo_jax.model.sharding import make_mesh, on_mesh
from srpo_jax.rewards.user_judge import parse_judges
from srpo_jax.rollout.jetstream_engine import JetStreamEngine
from srpo_jax.rollout.model_files import read_model_files
from srpo_jax.rollout.policy import Policy
from srpo_jax.serving.driver import ServingDriver
from srpo_jax.serving.requests import Limits, PromptReader
from srpo_jax.serving.text import token_bytes
from srpo_jax.training.build import build_engine, build_renderer


def load_driver(config: Config, policy: Policy, limits: Limits) -> ServingDriver:
  """Loads the policy, compiles its programs and starts the driver's threads.

  Raises:
    InputError: the tokenizer does not fit the model, or the mesh does not fit the devices.
  """
  mesh = make_mesh(**dataclasses.asdict(config.mesh))
  with on_mesh(mesh):
    model = read_model_files(policy.folder, config.prompt.eos)
    model.check_vocabulary()
    max_prompt, stops = config.data.max_prompt_tokens, model.stop_tokens
    engine = cast(
      JetStreamEngine, build_engine(config, model.config, max_prompt=max_prompt, stops=stops, top_p=limits.top_p)
    )
    trained = policy.load(config)
    params = engine.load_params(trained)
  if params is not trained:
    for leaf in jax.tree.leaves(trained):
      leaf.delete()  # frees the master weights, since the engine serves its own copy
  renderer = build_renderer(config, model.tokenizer)
  vocabulary = token_bytes(model.tokenizer, model.config.vocab_size)
  reader = PromptReader(renderer, vocabulary, max_prompt, parse_judges(config.reward.judges))
  return ServingDriver(engine, params, reader, limits, stops, bucket=config.rollout.prompt_bucket, mesh=mesh)
