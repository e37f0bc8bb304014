"""Group-relative advantages (SRPO, arXiv 2504.14286, after GRPO, arXiv 2402.03300).

    A_i = (R_i - mean(R)) / (std(R) + eps)        over the group of one prompt, population std

A response that could not be judged takes no part in its group's statistics and gets zero. A response cut at the length
limit takes part, and gets zero afterwards.
"""

import numpy as np
from jaxtyping import Bool, Float

EPS = 1e-6


def group_advantages(
  rewards: Float[np.ndarray, " prompt sample"],
  judged: Bool[np.ndarray, " prompt sample"],
  truncated: Bool[np.ndarray, " prompt sample"],
  *,
  scale: str | float = "std",
) -> Float[np.ndarray, " prompt sample"]:
  """Advantages of each prompt's group.

  Args:
    rewards: any value where not judged.
    judged: False leaves the statistics.
    truncated: True zeroes the advantage after the statistics are taken.
    scale: what the centred reward is divided by: "std", the group's std + 1e-6; "none", 1; a number, the larger of
      the group's std and that floor, so that a small difference is not blown up to full size.

  Returns:
    float32; zeros for a group whose judged rewards are all equal.
  """
  count = judged.sum(axis=1, keepdims=True)
  kept = np.where(judged, rewards.astype(np.float64), 0.0)
  mean = kept.sum(axis=1, keepdims=True) / np.maximum(count, 1)
  centred = np.where(judged, kept - mean, 0.0)
  std = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(count, 1))
  if scale == "std":
    divisor = std + EPS
  elif scale == "none":
    divisor = np.ones_like(std)
  else:
    divisor = np.maximum(std, float(scale))
  # Equal rewards need not have a mean equal to them in floating point: their zeros are stated, not computed.
  highest = np.where(judged, kept, -np.inf).max(axis=1, keepdims=True)
  lowest = np.where(judged, kept, np.inf).min(axis=1, keepdims=True)
  live = judged & ~truncated & (highest > lowest)
  return np.where(live, centred / divisor, 0.0).astype(np.float32)


def no_correct_weight(
  advantages: Float[np.ndarray, " prompt sample"], correct: Bool[np.ndarray, " prompt sample"]
) -> float:
  """The share of |advantage| held by groups without a correct response: gradient from form alone; 0 if none."""
  mass = np.abs(advantages).sum(axis=1)
  return float(mass[~correct.any(axis=1)].sum() / mass.sum()) if mass.sum() > 0 else 0.0
