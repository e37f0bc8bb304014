"""Check of the responses that the policy gives to some prompts of the run: their form, and if they would train it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from srpo_jax.checks.finding import PASS, WARN, Finding
from srpo_jax.checks.sampling import Draws
from srpo_jax.config import Config
from srpo_jax.data.encoded import Prompt
from srpo_jax.rollout.collector import Group, request_of, text_of
from srpo_jax.training.build import build_advantage, build_scorer
from srpo_jax.training.update import batch_advantages, groups_in_update

CHECK = "responses of the policy"


def check_responses(config: Config, tokenizer: Any, prompts: Sequence[Prompt], draws: Draws) -> Finding:
  """Judges the sampled responses and reports how many are well-formed and end. Warns if they would train nothing.

  Args:
    draws: responses to `prompts` at the run's temperature and length limit.
  """
  groups = _judged(config, tokenizer, prompts, draws)
  verdicts = [verdict for group in groups for verdict in group.verdicts]
  n, formed = len(verdicts), sum(verdict.format for verdict in verdicts)
  ended = sum(not rollout.truncated for rollout in draws.rollouts)
  right = sum(verdict.correct == 1 for verdict in verdicts)
  found = (
    f"{formed} of {n} have the required form, {ended} end within {draws.limit} tokens, {right} are correct "
    f"({len(groups)} prompts, temperature {config.rollout.temperature:g})"
  )
  if draws.seconds is not None:
    longest = max(len(rollout.tokens) for rollout in draws.rollouts)
    found += f"; stopped after {draws.seconds:g} s at {longest} tokens, where the unfinished ones count as cut"
  if _advantages(config, groups).any():
    return Finding(PASS, CHECK, found)
  return Finding(WARN, CHECK, f"{found}; every advantage is zero", _advice(config, formed, ended / n, right))


def _judged(config: Config, tokenizer: Any, prompts: Sequence[Prompt], draws: Draws) -> list[Group]:
  groups = []
  with build_scorer(config) as scorer:
    for prompt in prompts:
      rollouts = tuple(rollout for rollout in draws.rollouts if rollout.prompt_id == prompt.problem.id)
      texts = tuple(text_of(rollout, tokenizer) for rollout in rollouts)
      for rollout, text in zip(rollouts, texts, strict=True):
        scorer.submit(request_of(prompt, rollout, text))
      groups.append(Group(prompt, rollouts, texts, ()))
    verdicts = scorer.collect()
  return [
    dataclasses.replace(g, verdicts=tuple(verdicts[f"{g.prompt.problem.id}/{r.sample}"] for r in g.rollouts))
    for g in groups
  ]


def _advantages(config: Config, groups: Sequence[Group]) -> np.ndarray:
  mask = groups_in_update(groups, dynamic=config.history.dynamic_sampling)
  return batch_advantages(build_advantage(config), config, groups, mask)


def _advice(config: Config, formed: int, ended: float, right: int) -> str:
  """Returns what to change so that rewards differ.

  Args:
    formed, right: numbers of well-formed and of correct responses.
    ended: share of responses that end.
  """
  if formed:
    return f"the problems are too {'easy' if right else 'hard'} for this policy: curate label finds others"
  if ended < 0.5:
    return f"{_form_advice(config)}; or raise config.rollout.max_new_tokens"
  return _form_advice(config)


def _form_advice(config: Config) -> str:
  prompt = config.prompt
  if prompt.style == "template":
    return "write worked examples into config.prompt.template"
  if prompt.examples:
    return "give more or shorter config.prompt.examples, or check config.prompt.opens_think and eos"
  other = ", or an instruct model prompt.style=chat" if prompt.style == "base" else ""
  return f"give the prompt worked examples, config.prompt.examples{other} (docs/own-model.md)"
