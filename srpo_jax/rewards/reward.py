"""R = acc + w_fmt * fmt - w_mix * mix (SRPO, arXiv 2504.14286: accuracy and format, a penalty for mixed languages)."""

import math

from srpo_jax.utils.errors import InputError


def check_weights(format_weight: float, language_penalty: float) -> None:
  """Raises InputError where a wrong response could reach the reward of a correct one."""
  for name, weight in (("format_weight", format_weight), ("language_penalty", language_penalty)):
    if not weight >= 0:
      raise InputError(f"{name}: expected a number of at least 0, found {weight!r}")
  if not format_weight + language_penalty < 1:
    raise InputError(
      f"format_weight + language_penalty: expected less than 1, or a wrong response could outrank a correct one,"
      f" found {format_weight!r} + {language_penalty!r}"
    )


def srpo_reward(correct: int | None, fmt: int, mix: int, *, format_weight: float, language_penalty: float) -> float:
  """The reward of one response; NaN where it could not be judged.

  Args:
    correct: 1, 0, or None for not judged.
    fmt: 1 where the required form was kept.
    mix: 1 where the response mixes languages.
  """
  return math.nan if correct is None else correct + format_weight * fmt - language_penalty * mix
