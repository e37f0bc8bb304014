"""Reward of a response: R = correct + format_weight * fmt - language_penalty * mix.

Source: SRPO, arXiv 2504.14286, which rewards accuracy and format and penalizes mixed languages.
"""

import math

from srpo_jax.utils.errors import InputError


def check_weights(format_weight: float, language_penalty: float) -> None:
  """Raises InputError if a weight is negative or a wrong response could reach the reward of a correct one."""
  for name, weight in (("format_weight", format_weight), ("language_penalty", language_penalty)):
    if not weight >= 0:
      raise InputError(f"{name}: expected a number of at least 0, found {weight!r}")
  if not format_weight + language_penalty < 1:
    raise InputError(
      f"format_weight + language_penalty: expected less than 1, or a wrong response could outrank a correct one,"
      f" found {format_weight!r} + {language_penalty!r}"
    )


def srpo_reward(correct: int | None, fmt: int, mix: int, *, format_weight: float, language_penalty: float) -> float:
  """Returns the reward of one response, or NaN if it could not be judged.

  Args:
    correct: 1 (correct), 0 (wrong) or None (could not be judged).
    fmt: 1 if the response has the required form, else 0.
    mix: 1 if the response mixes languages, else 0.
    format_weight: the reward for the required form.
    language_penalty: the penalty for mixed languages.
  """
  return math.nan if correct is None else correct + format_weight * fmt - language_penalty * mix
