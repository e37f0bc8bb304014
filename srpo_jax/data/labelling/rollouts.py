"""The responses that labels are made of: sampled and judged as in training, with keys of their own."""

from collections.abc import Sequence
from pathlib import Path

from srpo_jax.algorithm.history import Outcome
from srpo_jax.config import Config
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.labelling.parts import Tally
from srpo_jax.model.sampling import Purpose
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.policy import make_collector, of_folder
from srpo_jax.training.run import prompt_set
from srpo_jax.types import Problem


class Roller:
  """Samples and judges the responses to batches of rows.

  Raises InputError for a row that is at fault, before hours of sampling, where the model's folder is not one, or where
  its tokenizer is not its own.
  """

  def __init__(self, config: Config, scorer: Scorer, problems: Sequence[Problem], samples: int):
    policy = of_folder(Path(config.model.path))
    self._config, self._samples = config, samples
    tokenizer = load_tokenizer(policy.folder)
    self._prompts = prompt_set(config, config.data.train, problems, scorer, tokenizer, selection=None)
    self._collector = make_collector(config, policy.folder, scorer, tokenizer, [self._prompts])
    self._params = policy.load(config)

  def roll_out(self, ids: Sequence[str]) -> list[Tally]:
    """What the responses to some rows were; an empty tally for a row that cannot be labelled."""
    prompts = [self._prompts[id_] for id_ in ids if id_ in self._prompts]
    if not prompts:
      return [Tally()] * len(ids)
    groups, _ = self._collector.collect(
      self._params,
      prompts,
      step=0,
      purpose=Purpose.LABEL,
      samples=self._samples,
      temperature=self._config.rollout.temperature,
      budget=self._config.rollout.max_new_tokens,
    )
    found = {group.prompt.problem.id: _tally(group.outcome()) for group in groups}
    return [found.get(id_, Tally()) for id_ in ids]


def _tally(seen: Outcome) -> Tally:
  return Tally(seen.n - seen.n_unjudged, seen.n_correct, seen.n_truncated, seen.n_unjudged)
