"""Metrics of one training step, named as in metrics.jsonl."""

from collections.abc import Mapping, Sequence

import numpy as np

from srpo_jax.algorithm.advantages import no_correct_weight
from srpo_jax.algorithm.stages import Position
from srpo_jax.analysis.reflection import Seen, reflect, reflection_rates
from srpo_jax.rollout.collector import Group, by_domain
from srpo_jax.training.learner import UpdateMetrics

MetricsRow = dict[str, float | int | None]


def step_metrics(
  groups: Sequence[Group],
  advantages: np.ndarray,
  updates: Sequence[UpdateMetrics],
  step_start: Position,
  n_rollouts: int,
  times: Mapping[str, float],
  n_tokens: int,
) -> MetricsRow:
  """Returns the figures of a step, in the order of metrics.jsonl.

  Args:
    n_rollouts: number of rollouts that the run has sampled so far, including this step.
    times: seconds spent in each phase.
    n_tokens: number of tokens that went through the updates, including prompts.
  """
  row = group_metrics(groups, advantages) | {"rollouts/spent": n_rollouts} | policy_metrics(updates)
  row |= domain_metrics(groups, step_start) | reflection_metrics(groups)
  return row | time_metrics(times, groups, n_tokens)


def group_metrics(groups: Sequence[Group], advantages: np.ndarray) -> MetricsRow:
  """Returns metrics of the responses and their rewards. Mean reward and accuracy are over judged responses."""
  verdicts = [[v for v in g.verdicts] for g in groups]
  flat = [v for row in verdicts for v in row]
  judged = [v for v in flat if v.correct is not None]
  rollouts = [r for g in groups for r in g.rollouts]
  correct = np.array([[v.correct == 1 for v in row] for row in verdicts])
  wrong = np.array([[v.correct == 0 for v in row] for row in verdicts])
  return {
    "reward/mean": mean([v.reward for v in judged]),
    "reward/accuracy": mean([v.correct for v in judged]),
    "reward/format": mean([v.format for v in flat]),
    "reward/language_mix": mean([v.language_mix for v in flat]),
    "reward/unjudged_frac": 1 - len(judged) / len(flat),
    "response/length_mean": mean([len(r.tokens) for r in rollouts]),
    "response/truncated_frac": mean([r.truncated for r in rollouts]),
    "groups/zero_advantage_frac": float((advantages == 0).all(axis=1).mean()),
    "groups/all_correct_frac": float(correct.all(axis=1).mean()),
    "groups/all_wrong_frac": float((~correct.any(axis=1) & wrong.any(axis=1)).mean()),
    "groups/no_correct_weight": no_correct_weight(advantages, correct),
    "batch/code_share": mean([g.prompt.problem.domain == "code" for g in groups]),
  }


def domain_metrics(groups: Sequence[Group], step_start: Position) -> MetricsRow:
  """Returns figures of each domain's part of the batch (null if it has none) and of its pool before the step."""
  row: MetricsRow = {}
  parts = by_domain(groups)
  for domain, pool in step_start.pools.items():
    own = parts.get(domain, [])
    row[f"{domain}/accuracy"] = mean([v.correct for g in own for v in g.verdicts if v.correct is not None])
    row[f"{domain}/length_mean"] = mean([len(r.tokens) for g in own for r in g.rollouts])
    row[f"{domain}/epoch"] = pool.epoch
    row[f"{domain}/pool_size"] = len(pool.prompts)
  return row


def reflection_metrics(groups: Sequence[Group]) -> MetricsRow:
  """Returns the rates at which responses re-check their work, hesitate, try another approach, or write code."""
  return dict(
    reflection_rates(
      Seen(reflect(text), group.prompt.problem.domain, len(rollout.tokens), _as_bool(verdict.correct))
      for group in groups
      for rollout, text, verdict in zip(group.rollouts, group.texts, group.verdicts, strict=True)
    )
  )


def _as_bool(correct: int | None) -> bool | None:
  return None if correct is None else bool(correct)


def policy_metrics(updates: Sequence[UpdateMetrics]) -> MetricsRow:
  """Returns the means over the step's optimizer updates. They are None if no token was in the loss."""
  gap = np.concatenate([u.gap for u in updates]) if updates else np.zeros(0)
  return {
    "policy/loss": mean([u.loss for u in updates]),
    "policy/grad_norm": mean([u.grad_norm for u in updates]),
    "policy/entropy": mean([u.entropy for u in updates if u.entropy is not None]),
    "policy/clip_frac": mean([u.clip_frac for u in updates]),
    "policy/logprob_gap": float(gap.mean()) if len(gap) else None,
    "policy/logprob_gap_p99": float(np.percentile(gap, 99)) if len(gap) else None,
    "policy/logprob_gap_max": float(gap.max()) if len(gap) else None,
  }


def time_metrics(times: Mapping[str, float], groups: Sequence[Group], trained: int) -> MetricsRow:
  """Returns seconds of each phase, and throughput in tokens per second.

  Rollout throughput counts generated tokens. Update throughput also counts prompt tokens.
  """
  generated = sum(len(r.tokens) for g in groups for r in g.rollouts)
  row: MetricsRow = {f"time/{name}": seconds for name, seconds in times.items()}
  row["throughput/rollout_tokens_per_s"] = generated / times["rollout_s"]
  row["throughput/train_tokens_per_s"] = trained / times["update_s"]
  return row


def mean(values: Sequence[float | int | None]) -> float | None:
  """Returns the mean of the values. None if there are none."""
  return float(np.mean(np.asarray(values, np.float64))) if len(values) else None
