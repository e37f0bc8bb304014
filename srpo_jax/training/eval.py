"""Held-out evaluation during training: pass@1 at temperature 1, and greedy if wanted, with its own random keys."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from srpo_jax.data.encoded import Prompt
from srpo_jax.model.sampling import Purpose
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.collector import Group, RolloutSampler


def evaluate(
  sampler: RolloutSampler,
  params: Params,
  prompts: Sequence[Prompt],
  *,
  name: str,
  step: int,
  samples: int,
  max_new_tokens: int,
  greedy: bool = True,
  keep: Callable[[Sequence[Group]], None] | None = None,
) -> dict[str, Any]:
  """Returns a row of eval.jsonl. Accuracies are over all responses, and unjudged responses count as not correct.

  Args:
    greedy: True to measure greedy responses too. Without them, their values are None.
    keep: called with the sampled groups.
  """
  ask: dict[str, Any] = {"step": step, "purpose": Purpose.EVAL, "max_new_tokens": max_new_tokens}
  sampled, _ = sampler.collect(params, prompts, samples=samples, temperature=1.0, **ask)
  if keep is not None:
    keep(sampled)
  likeliest = sampler.collect(params, prompts, samples=1, temperature=0.0, **ask)[0] if greedy else []
  judged = [group for group in sampled if all(verdict.correct is not None for verdict in group.verdicts)]
  levels = sorted({p.problem.difficulty or p.problem.domain for p in prompts})
  return {
    "step": step,
    "set": name,
    "n": len(prompts),
    "samples": samples,
    "pass@1": _accuracy(sampled),
    "n_judged": len(judged),
    "pass@1_judged": _accuracy(judged),
    "greedy": _accuracy(likeliest),
    "format_rate": _format_rate(sampled),
    "greedy_format_rate": _format_rate(likeliest),
    "well_formed_accuracy": _well_formed_accuracy(sampled),
    "greedy_well_formed_accuracy": _well_formed_accuracy(likeliest),
    "length_mean": float(np.mean([len(r.tokens) for g in sampled for r in g.rollouts])),
    "truncated_frac": float(np.mean([r.truncated for g in sampled for r in g.rollouts])),
    "by": {level: _accuracy([g for g in sampled if _level(g) == level]) for level in levels},
    "greedy_by": {level: _accuracy([g for g in likeliest if _level(g) == level]) for level in levels},
  }


def _level(group: Group) -> str:
  return group.prompt.problem.difficulty or group.prompt.problem.domain


def _accuracy(groups: Sequence[Group]) -> float | None:
  return _mean([v.correct == 1 for g in groups for v in g.verdicts])


def _format_rate(groups: Sequence[Group]) -> float | None:
  return _mean([v.format for g in groups for v in g.verdicts])


def _well_formed_accuracy(groups: Sequence[Group]) -> float | None:
  return _mean([v.correct == 1 for g in groups for v in g.verdicts if v.format])


def _mean(values: Sequence[int]) -> float | None:
  return float(np.mean(values)) if values else None
