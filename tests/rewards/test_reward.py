import math

import pytest

from srpo_jax.rewards.reward import check_weights, srpo_reward
from srpo_jax.utils.errors import InputError

WEIGHTS = {"format_weight": 0.1, "language_penalty": 0.1}


@pytest.mark.parametrize(
  ("correct", "fmt", "mix", "reward"),
  [(1, 1, 0, 1.1), (1, 0, 0, 1.0), (1, 1, 1, 1.0), (1, 0, 1, 0.9), (0, 1, 0, 0.1), (0, 0, 0, 0.0), (0, 0, 1, -0.1)],
)
def test_rewards_computed_by_hand(correct: int, fmt: int, mix: int, reward: float) -> None:
  assert srpo_reward(correct, fmt, mix, **WEIGHTS) == pytest.approx(reward, abs=1e-12)


def test_the_two_weights_are_not_exchanged() -> None:
  assert srpo_reward(0, 1, 0, format_weight=0.3, language_penalty=0.2) == pytest.approx(0.3)
  assert srpo_reward(0, 0, 1, format_weight=0.3, language_penalty=0.2) == pytest.approx(-0.2)


def test_the_reward_of_an_unjudged_response_is_nan() -> None:
  assert math.isnan(srpo_reward(None, 1, 0, **WEIGHTS))


@pytest.mark.parametrize("weights", [(0.0, 0.0), (0.1, 0.1), (0.5, 0.49)])
def test_any_correct_response_outranks_any_wrong_one(weights: tuple[float, float]) -> None:
  check_weights(*weights)
  names = dict(zip(("format_weight", "language_penalty"), weights, strict=True))
  rewards = {c: [srpo_reward(c, f, m, **names) for f in (0, 1) for m in (0, 1)] for c in (0, 1)}
  assert min(rewards[1]) > max(rewards[0])


@pytest.mark.parametrize(
  ("weights", "field"),
  [
    ((0.5, 0.5), "format_weight \\+ language_penalty"),
    ((1.0, 0.0), "format_weight \\+ language_penalty"),
    ((-0.1, 0.1), "format_weight: expected a number of at least 0, found -0.1"),
    ((0.1, -0.1), "language_penalty"),
    ((math.nan, 0.1), "format_weight"),
  ],
)
def test_other_weights_are_refused(weights: tuple[float, float], field: str) -> None:
  with pytest.raises(InputError, match=field):
    check_weights(*weights)
