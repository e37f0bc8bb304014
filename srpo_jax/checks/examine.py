"""Runs all checks of a run before it starts, in order."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from srpo_jax.checks import data, memory, responses, rewards, sampling, storage, text
from srpo_jax.checks.finding import FAIL, WARN, Finding
from srpo_jax.config import Config
from srpo_jax.data.dataset import set_name
from srpo_jax.data.encoded import Prompt, load_tokenizer, stop_tokens
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.data.prompt_set import PromptSet
from srpo_jax.model import hf
from srpo_jax.model.sharding import on_mesh
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.policy import Policy
from srpo_jax.training.build import (
  Inputs,
  build_prompt_sets,
  build_renderer,
  build_scorer,
  open_inputs,
  starting_policy,
)
from srpo_jax.training.model_commit import model_commit, with_commit
from srpo_jax.training.schedule import Schedule
from srpo_jax.utils.errors import InputError

PROMPTS = 4  # number of prompts that responses are sampled for
TEXTS = 256  # number of prompts whose tokens are checked

Show = Callable[[Finding], None]


def examine(config: Config, workdir: Path, show: Show) -> list[Finding]:
  """Returns all findings. Each one is shown as soon as it is known.

  Raises:
    InputError: the config or data is refused before it can be checked, for example a row without an answer.
  """
  findings: list[Finding] = []

  def add(*found: Finding) -> None:
    for finding in found:
      findings.append(finding)
      show(finding)

  inputs = open_inputs(config, heldout=True)
  with contextlib.ExitStack() as opened:
    scorer = opened.enter_context(build_scorer(config))
    add(*_check_rewards(config, scorer, inputs))
    unsafe = any(f.check == "sandbox" and f.level == FAIL for f in findings)
    if unsafe:
      scorer = opened.enter_context(build_scorer(with_any_sandbox(config)))  # reads tests, runs no program
    config = with_commit(config, model_commit(config, workdir))
    policy = starting_policy(config)
    model, tokenizer = hf.read_config(policy.folder), load_tokenizer(policy.folder)
    renderer = build_renderer(config, tokenizer)
    train, heldout = build_prompt_sets(config, inputs, scorer, renderer)
  Schedule(config, train.domains())
  add(*_check_data(config, inputs, train.sets, heldout, policy))

  stops, of_text = _check_stop_tokens(policy.folder, renderer)
  prompts = [set_[id_] for set_ in train.sets for id_ in list(set_)[: TEXTS // len(train.sets)]]
  of_text += text.check_tokenizer(tokenizer, stops, model, prompts)
  add(*of_text)
  add(_check_room(config, tokenizer))
  add(*_check_storage(config, workdir, model))
  of_memory = memory.check_memory(config, max(set_.longest for set_ in (*train.sets, *heldout)))
  add(of_memory)
  if any(finding.level == FAIL for finding in (*of_text, of_memory)):
    add(Finding(WARN, "sampler against trainer", "not looked at", "first fix the tokenizer or the memory"))
    return findings
  with on_mesh(inputs.mesh):
    of_sampling, draws = sampling.check_sampling(config, policy, _spread(prompts), stops)
  add(*of_sampling)
  if unsafe:
    add(Finding(WARN, responses.CHECK, "not looked at", "first fix the sandbox"))
  else:
    add(responses.check_responses(config, tokenizer, _spread(prompts), draws))
  return findings


def with_any_sandbox(config: Config) -> Config:
  """Returns the config with the weakest sandbox tier allowed."""
  return dataclasses.replace(config, sandbox=dataclasses.replace(config.sandbox, min_tier="unsafe"))


def _check_rewards(config: Config, scorer: Scorer, inputs: Inputs) -> list[Finding]:
  domains = {p.domain for _, problems in [*inputs.train, *inputs.heldout] for p in problems}
  return rewards.check_rewards(scorer, domains, config.reward.validator, bool(config.reward.function))


def _check_data(
  config: Config, inputs: Inputs, train: Sequence[PromptSet], heldout: Sequence[PromptSet], policy: Policy
) -> list[Finding]:
  """Checks the rows and lengths of all sets, and looks for held-out items among the training rows."""
  positions = hf.read_raw_config(policy.folder).get("max_position_embeddings")
  limits = config.data.max_prompt_tokens, config.rollout.max_new_tokens, config.train.pack_tokens, positions
  findings: list[Finding] = []
  for set_, (_, problems) in zip([*train, *heldout], [*inputs.train, *inputs.heldout], strict=True):
    findings += [*data.check_rows(set_, len(problems)), data.check_lengths(set_, *limits)]
  named = {set_name(spec): problems for spec, problems in inputs.heldout}
  return findings + data.check_leaks(dict(inputs.train), named)


def _check_stop_tokens(folder: Path, renderer: PromptRenderer) -> tuple[tuple[int, ...], list[Finding]]:
  """Returns the stop tokens and the findings. If the model names no stop token, there is one failed finding."""
  try:
    stops = stop_tokens(folder, renderer.tokenizer, renderer.eos_id)
  except InputError as error:
    todo = "name one: config.prompt.eos, or eos_token_id in generation_config.json"
    return (), [Finding(FAIL, "tokens that end a response", str(error), todo)]
  return stops, [text.check_turn_end(renderer, stops)] if renderer.style == "chat" else []


def _check_room(config: Config, tokenizer: Any) -> Finding:
  """Checks that a response fits the smallest length limit of all stages."""
  limits = [stage.max_new_tokens or config.rollout.max_new_tokens for stage in config.stages.values()]
  return text.check_room(tokenizer, min(limits))


def _check_storage(config: Config, workdir: Path, model: TransformerConfig) -> list[Finding]:
  """Checks that the disk has space for the run's checkpoints and rollouts, and its speed."""
  dtype = jnp.dtype(config.model.param_dtype)
  parameters = sum(leaf.size for leaf in jax.tree.leaves(hf.param_shapes(model, dtype)))
  checkpoint = storage.checkpoint_bytes(parameters, dtype.itemsize)
  # A token is 4 bytes of ids, 4 of log-probs and about 4 of text. Half of the limit is a long mean response.
  rows = config.rollout.prompts * config.rollout.group * (config.train.steps or 1000)
  return storage.check(workdir, checkpoint, config.checkpoint.keep, rows * 6 * config.rollout.max_new_tokens)


def _spread(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
  """Returns PROMPTS prompts, spread evenly."""
  return prompts[:: max(len(prompts) // PROMPTS, 1)][:PROMPTS]
