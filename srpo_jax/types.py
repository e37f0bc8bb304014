"""The plain values that flow between the parts of a training step.

Problem -> Rollout -> ScoreRequest -> Verdict
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

# Domains whose judges are built in. Every other domain needs a judge of the user's own: `config.reward.judges`.
BUILT_IN_DOMAINS = ("math", "code")


@dataclasses.dataclass(frozen=True)
class Problem:
  """A row of a data set: one question and what decides whether a response to it is correct."""

  id: str
  domain: str  # "math" | "code", or a user's own
  question: str
  answer: str | None = None  # math: the gold answer, LaTeX or plain
  tests: Mapping[str, Any] | None = None  # code: the cases to run
  difficulty: str | None = None
  pass_rate: float | None = None
  source: str | None = None
  # Every field of the row that is not named above, as JSON values without nulls. Empty for the built-in domains.
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Rollout:
  """One sampled response to a prompt."""

  prompt_id: str
  sample: int  # index within the prompt's group
  prompt_tokens: np.ndarray  # int32 [n_prompt_tokens]
  tokens: np.ndarray  # int32 [n_tokens], the EOS included when there is one
  logprobs: np.ndarray  # float32 [n_tokens], of the sampler, at its temperature
  truncated: bool  # cut at the length limit: no EOS


@dataclasses.dataclass(frozen=True)
class ScoreRequest:
  """What a reward may look at: a response as text with its problem."""

  id: str
  prompt: str
  response: str  # decoded without the EOS; does not include the prompt's `<think>`
  ended: bool  # ended by EOS rather than by the length limit
  domain: str
  answer: str | None = None
  tests: Mapping[str, Any] | None = None
  problem: Problem | None = None  # the row that the response answers; a user's judge needs it


@dataclasses.dataclass(frozen=True)
class Judgement:
  """Result of a user's judge, `judge(problem, response) -> Judgement`, on one response."""

  correct: int | None  # 1 | 0 (a bool will do); None: not judged, the response leaves its group's statistics
  pass_fraction: float | None = None  # from 0 to 1; recorded, not part of the reward
  reason: str = ""  # recorded; cut to 200 characters


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What the rewards say of one response."""

  id: str
  format: int  # 1: the required form was kept
  language_mix: int  # 1: the response mixes languages
  correct: int | None  # 1 | 0; None: could not be judged
  reward: float  # NaN when correct is None
  reason: str  # why `correct` is what it is, in a few words
  pass_fraction: float | None = None  # code: the share of passed tests
  time_s: float = 0.0  # seconds that judging took
