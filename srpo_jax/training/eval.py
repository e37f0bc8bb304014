"""Held-out evaluation during training: pass@1 at temperature 1 and greedy, with keys of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from srpo_jax.data.encoded import Prompt
from srpo_jax.model.qwen2 import Params
from srpo_jax.model.sampling import Purpose
from srpo_jax.rollout.collector import Collector, Group


def evaluate(
  collector: Collector, params: Params, prompts: Sequence[Prompt], *, name: str, step: int, samples: int, budget: int
) -> dict[str, Any]:
  """One row of eval.jsonl: accuracies are over all responses, one not judged counting as not correct."""
  sampled, greedy = (
    collector.collect(
      params, prompts, step=step, purpose=Purpose.EVAL, samples=n, temperature=temperature, budget=budget
    )[0]
    for n, temperature in ((samples, 1.0), (1, 0.0))
  )
  levels = sorted({p.problem.difficulty or p.problem.domain for p in prompts})
  return {
    "step": step,
    "set": name,
    "n": len(prompts),
    "samples": samples,
    "pass@1": _accuracy(sampled),
    "greedy": _accuracy(greedy),
    "format_rate": _format_rate(sampled),
    "greedy_format_rate": _format_rate(greedy),
    "well_formed_accuracy": _well_formed_accuracy(sampled),
    "greedy_well_formed_accuracy": _well_formed_accuracy(greedy),
    "length_mean": float(np.mean([len(r.tokens) for g in sampled for r in g.rollouts])),
    "truncated_frac": float(np.mean([r.truncated for g in sampled for r in g.rollouts])),
    "by": {level: _accuracy([g for g in sampled if _level(g) == level]) for level in levels},
    "greedy_by": {level: _accuracy([g for g in greedy if _level(g) == level]) for level in levels},
  }


def _level(group: Group) -> str:
  return group.prompt.problem.difficulty or group.prompt.problem.domain


def _accuracy(groups: Sequence[Group]) -> float:
  return float(np.mean([v.correct == 1 for g in groups for v in g.verdicts]))


def _format_rate(groups: Sequence[Group]) -> float:
  return float(np.mean([v.format for g in groups for v in g.verdicts]))


def _well_formed_accuracy(groups: Sequence[Group]) -> float | None:
  well_formed = [v.correct == 1 for g in groups for v in g.verdicts if v.format]
  return float(np.mean(well_formed)) if well_formed else None
