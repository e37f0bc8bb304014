"""The responses that labels are made of: sampled and judged as in training, with keys of their own."""

import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp

from srpo_jax.algorithm.history import Outcome
from srpo_jax.config import Config
from srpo_jax.data.encoded import encode_prompts, load_tokenizer
from srpo_jax.data.label_parts import Tally
from srpo_jax.errors import InputError
from srpo_jax.experience import Collector
from srpo_jax.model import hf
from srpo_jax.model.sampling import Purpose
from srpo_jax.rewards.code import runnable
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.run import make_engine, stop_tokens
from srpo_jax.types import Problem, ScoreRequest

SCAN_ROWS = 1024  # rows in memory at once


@dataclasses.dataclass(frozen=True)
class Scan:
  """What a look at every row says before the first response is sampled."""

  longest: int  # tokens of the longest prompt that is used
  largest: int  # token id of those prompts
  refused: Mapping[int, str]  # row index -> why it cannot be labelled


def scan(config: Config, problems: Sequence[Problem], scorer: Scorer) -> Scan:
  """Looks at every row, so that a bad one is told before hours of sampling.

  Raises:
    InputError: a row of a domain without an instruction or a judge, a gold answer that cannot be used, or no row at all
      that can be labelled.
  """
  tokenizer = load_tokenizer(config.model.path)
  longest = largest = 0
  refused: dict[int, str] = {}
  for start in range(0, len(problems), SCAN_ROWS):
    batch = problems[start : start + SCAN_ROWS]
    place = {problem.id: index for index, problem in enumerate(batch, start)}
    usable, unusable = runnable(batch)
    refused |= {place[id_]: f"its tests cannot be used: {reason}" for id_, reason in unusable.items()}
    for problem in usable:
      scorer.check(ScoreRequest(problem.id, "", "", True, problem.domain, problem.answer, problem.tests))
    prompts = encode_prompts(usable, config.prompt, tokenizer, sys.maxsize) if usable else {}
    for id_, prompt in prompts.items():
      if len(prompt.tokens) > config.data.max_prompt_tokens:
        refused[place[id_]] = f"a prompt of {len(prompt.tokens)} tokens, over {config.data.max_prompt_tokens}"
      else:
        longest, largest = max(longest, len(prompt.tokens)), max(largest, int(prompt.tokens.max()))
  if refused:
    index, reason = min(refused.items())
    about = f"{len(refused)} of {len(problems)} rows cannot be labelled, as row {index}: {reason}"
    if len(refused) == len(problems):
      raise InputError(f"{config.data.train}: {about}")
    logging.warning("%s", about)
  return Scan(longest, largest, refused)


class Roller:
  """Samples and judges the responses to batches of rows.

  Raises InputError where the model's folder is not one, or its tokenizer not its own.
  """

  def __init__(self, config: Config, scorer: Scorer, looked: Scan, samples: int):
    folder = Path(config.model.path)
    self._config, self._refused, self._samples = config, looked.refused, samples
    self._tokenizer = load_tokenizer(folder)
    model_config = hf.read_config(folder)
    stops = stop_tokens(folder, self._tokenizer)
    if max(*stops, looked.largest) >= model_config.vocab_size:
      raise InputError(f"{folder}: the tokenizer has ids beyond the model's vocab_size {model_config.vocab_size}")
    # Every use casts them to the type of the computation: master weights of twice the size would change no bit.
    narrow = "bfloat16" if config.model.param_dtype == "bfloat16" else config.model.dtype
    self._params = hf.load_params(folder, model_config, jnp.dtype(narrow))
    engine = make_engine(config, model_config, max_prompt=looked.longest, stops=stops)
    bucket, seed = config.rollout.prompt_bucket, config.train.seed
    self._collector = Collector(engine, scorer, self._tokenizer, stops, bucket, seed)

  def roll_out(self, problems: Sequence[Problem], indices: range) -> list[Tally]:
    """What the responses to some rows were; an empty tally for a row that cannot be labelled."""
    batch = problems[indices.start : indices.stop]
    usable = [problem for index, problem in zip(indices, batch, strict=True) if index not in self._refused]
    if not usable:
      return [Tally()] * len(batch)
    config = self._config
    prompts = encode_prompts(usable, config.prompt, self._tokenizer, config.data.max_prompt_tokens)
    groups, _ = self._collector.collect(
      self._params,
      list(prompts.values()),
      step=0,
      purpose=Purpose.LABEL,
      samples=self._samples,
      temperature=config.rollout.temperature,
      budget=config.rollout.max_new_tokens,
    )
    found = {group.prompt.problem.id: _tally(group.outcome()) for group in groups}
    return [found.get(problem.id, Tally()) for problem in batch]


def _tally(seen: Outcome) -> Tally:
  return Tally(seen.n - seen.n_unjudged, seen.n_correct, seen.n_truncated, seen.n_unjudged)
