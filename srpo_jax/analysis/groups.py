"""Turns the rollouts of a step into arrays of groups, as the algorithm takes them."""

from typing import Any, NamedTuple

import numpy as np


class Groups(NamedTuple):
  """The groups of one step. Arrays are [prompt, sample], in the order of `prompts`."""

  prompts: list[str]
  rewards: np.ndarray  # float64, NaN if not judged
  correct: np.ndarray  # bool
  judged: np.ndarray  # bool
  truncated: np.ndarray  # bool
  advantages: np.ndarray  # float32, as recorded


def as_groups(rows: Any) -> Groups:
  """Returns the groups of a step.

  Args:
    rows: a pandas frame of the step's rollouts, as RunFiles reads them.

  Raises:
    ValueError: rows of several steps, or groups of different sizes.
  """
  if rows["step"].nunique() != 1:
    raise ValueError(f"rollouts of {rows['step'].nunique()} steps, expected rollouts of one step")
  rows = rows.sort_values(["prompt_id", "sample"])
  prompts = rows["prompt_id"].drop_duplicates().tolist()
  if len(rows) % len(prompts) or rows.groupby("prompt_id").size().nunique() != 1:
    raise ValueError("groups of different sizes, expected the same number of rollouts for each prompt")
  columns = {name: rows[name].to_numpy().reshape(len(prompts), -1) for name in ("reward", "correct", "truncated")}
  return Groups(
    prompts,
    columns["reward"].astype(np.float64),
    columns["correct"] == 1,
    rows["correct"].notna().to_numpy().reshape(len(prompts), -1),
    columns["truncated"].astype(bool),
    rows["advantage"].to_numpy(np.float32).reshape(len(prompts), -1),
  )
