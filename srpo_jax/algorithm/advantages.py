"""Group-relative advantages (SRPO, arXiv 2504.14286, after GRPO, arXiv 2402.03300).

    A_i = (R_i - mean(R)) / (std(R) + eps)

Mean and population standard deviation are over the group, which is all responses to one prompt. A response that could
not be judged is left out of its group's statistics, and its advantage is zero. A truncated response counts in the
statistics, but its advantage is then set to zero.
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
  """Returns the advantages of the responses, each relative to its prompt's group.

  Args:
    rewards: rewards of the responses. Values are ignored where `judged` is False.
    judged: False for responses that could not be judged, which are left out of the statistics.
    truncated: True for responses whose advantage is set to zero after the statistics are taken.
    scale: divisor of the centred rewards. "std" is the group's std + 1e-6. "none" is 1. A number is a floor: the
      divisor is the larger of the group's std and this number, so that small differences are not blown up.

  Returns:
    float32 advantages. They are zero in a group whose judged rewards are all equal.
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
  # In floating point, the mean of equal rewards may differ from them. Such groups are set to exact zeros instead.
  highest = np.where(judged, kept, -np.inf).max(axis=1, keepdims=True)
  lowest = np.where(judged, kept, np.inf).min(axis=1, keepdims=True)
  nonzero = judged & ~truncated & (highest > lowest)
  return np.where(nonzero, centred / divisor, 0.0).astype(np.float32)


def no_correct_weight(
  advantages: Float[np.ndarray, " prompt sample"], correct: Bool[np.ndarray, " prompt sample"]
) -> float:
  """Returns the share of the total |advantage| that lies in groups without a correct response.

  The gradient of such groups comes only from format and language. The share is 0 if all advantages are zero.
  """
  weight = np.abs(advantages).sum(axis=1)
  return float(weight[~correct.any(axis=1)].sum() / weight.sum()) if weight.sum() > 0 else 0.0
