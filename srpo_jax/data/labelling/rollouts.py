"""Samples and judges the responses for labels, as in training but with separate random keys."""

from collections.abc import Sequence

from srpo_jax.algorithm.history import Outcome
from srpo_jax.config import Config
from srpo_jax.data.labelling.parts import Tally
from srpo_jax.model.sampling import Purpose
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.model_files import read_model_files
from srpo_jax.rollout.policy import of_folder
from srpo_jax.training.build import base_folder, build_prompt_set, build_renderer, build_sampler
from srpo_jax.types import Problem


class Labeller:
  """Counts how often a policy solves each row.

  Raises:
    InputError: a row is bad, the folder does not hold a model, or the tokenizer does not belong to the model. It is
      raised by the constructor, before hours of sampling.
  """

  def __init__(self, config: Config, scorer: Scorer, problems: Sequence[Problem], samples: int):
    policy = of_folder(base_folder(config))
    self._config, self._samples = config, samples
    model = read_model_files(policy.folder, config.prompt.eos)
    renderer = build_renderer(config, model.tokenizer)
    self._prompts = build_prompt_set(config, config.data.train, problems, scorer, renderer, selection=None)
    self._sampler = build_sampler(config, model, scorer, [self._prompts])
    self._params = policy.load(config)

  def tallies(self, ids: Sequence[str]) -> list[Tally]:
    """Returns the tallies of the rows with these ids. The tally of a row that cannot be labelled is empty."""
    prompts = [self._prompts[id_] for id_ in ids if id_ in self._prompts]
    if not prompts:
      return [Tally()] * len(ids)
    groups, _ = self._sampler.collect(
      self._params,
      prompts,
      step=0,
      purpose=Purpose.LABEL,
      samples=self._samples,
      temperature=self._config.rollout.temperature,
      max_new_tokens=self._config.rollout.max_new_tokens,
    )
    found = {group.prompt.problem.id: _tally(group.outcome()) for group in groups}
    return [found.get(id_, Tally()) for id_ in ids]


def _tally(seen: Outcome) -> Tally:
  return Tally(seen.n - seen.n_unjudged, seen.n_correct, seen.n_truncated, seen.n_unjudged)
