"""Plain values that flow between the parts of a training step.

Problem -> Rollout -> ScoreRequest -> Verdict
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

# Domains with built-in judges. Every other domain needs a user's judge (`config.reward.judges`).
BUILT_IN_DOMAINS = ("math", "code")


@dataclasses.dataclass(frozen=True)
class Problem:
  """A row of a data set: a question and the answer or tests that decide if a response is correct."""

  id: str
  domain: str  # "math", "code" or a user's own domain
  question: str
  answer: str | None = None  # math: gold answer, LaTeX or plain text
  tests: Mapping[str, Any] | None = None  # code: test cases to run
  difficulty: str | None = None
  pass_rate: float | None = None
  source: str | None = None
  # All other fields of the row, as JSON values without nulls. Empty for the built-in domains.
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Rollout:
  """One sampled response to a prompt."""

  prompt_id: str
  sample: int  # index within the prompt's group
  prompt_tokens: np.ndarray  # int32 [n_prompt_tokens]
  tokens: np.ndarray  # int32 [n_tokens], including the EOS if there is one
  logprobs: np.ndarray  # float32 [n_tokens], the sampler's log-probabilities at its temperature
  truncated: bool  # True if cut at the length limit, without EOS


@dataclasses.dataclass(frozen=True)
class ScoreRequest:
  """Input of the rewards: a response as text, with its problem."""

  id: str
  prompt: str
  response: str  # decoded text without the EOS and without the prompt's `<think>`, if the prompt ends in one
  ended: bool  # True if the EOS ended the response, False if the length limit did
  domain: str
  answer: str | None = None
  tests: Mapping[str, Any] | None = None
  problem: Problem | None = None  # row that the response answers, needed by a user's judge
  # Question and instruction, whose scripts a response may use and whose copy is no answer. None: the prompt.
  asked: str | None = None
  think_opened: bool = True  # True if the prompt ends in `<think>`, False if the response must begin with it
  well_ended: bool = True  # False if a stop token other than `prompt.eos` ended the response


@dataclasses.dataclass(frozen=True)
class Judgement:
  """Result of a user's judge, `judge(problem, response) -> Judgement`, for one response."""

  correct: int | None  # 1 or 0 (or a bool). None: not judged, so the response is left out of its group's statistics
  pass_fraction: float | None = None  # from 0 to 1. Recorded, but not part of the reward
  reason: str = ""  # recorded, cut to 200 characters


@dataclasses.dataclass(frozen=True)
class Verdict:
  """Result of the rewards for one response."""

  id: str
  format: int  # 1 if the response has the required form, else 0
  language_mix: int  # 1 if the response mixes languages, else 0
  correct: int | None  # 1 or 0. None: could not be judged
  reward: float  # NaN if `correct` is None
  reason: str  # reason for the value of `correct`, in a few words
  pass_fraction: float | None = None  # code: share of tests passed
  time_s: float = 0.0  # seconds spent judging
