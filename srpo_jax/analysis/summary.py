"""What a finished run shows: a table of the base against the trained policy, and a figure of the curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from srpo_jax.workdir import read_rows

TABLE_ROWS = (  # (label, key of an eval.jsonl row)
  ("pass@1, temperature 1", "pass@1"),
  ("accuracy, greedy", "greedy"),
  ("format rate, temperature 1", "format_rate"),
  ("format rate, greedy", "greedy_format_rate"),
  ("accuracy of well-formed, temperature 1", "well_formed_accuracy"),
  ("accuracy of well-formed, greedy", "greedy_well_formed_accuracy"),
)


def summarize(workdir: str | Path) -> None:
  """Prints the table, where the run evaluated, and writes WORKDIR/curves.png."""
  workdir = Path(workdir)
  evals = read_rows(workdir / "eval.jsonl")
  metrics = read_rows(workdir / "metrics.jsonl")
  if evals:
    print(comparison_table(evals[0], evals[-1]))
  if metrics:
    plot_curves(metrics, evals, workdir / "curves.png")
    print(f"curves: {workdir / 'curves.png'}")


def comparison_table(base: dict[str, Any], trained: dict[str, Any]) -> str:
  """A Markdown table of two rows of eval.jsonl, in percent; per difficulty at temperature 1 and greedy."""
  lines = [(label, base[key], trained[key]) for label, key in TABLE_ROWS]
  for level in base["by"]:
    lines.append((f"{level}, temperature 1", base["by"][level], trained["by"][level]))
    lines.append((f"{level}, greedy", base["greedy_by"][level], trained["greedy_by"][level]))
  head = f"| held-out, {base['n']} problems | base | step {trained['step']} | change |"
  rows = [head, "| --- | ---: | ---: | ---: |"]
  rows += [f"| {label} | {_percent(a)} | {_percent(b)} | {_change(a, b)} |" for label, a, b in lines]
  rows.append(
    f"| mean response length, tokens | {base['length_mean']:.1f} | {trained['length_mean']:.1f} "
    f"| {trained['length_mean'] - base['length_mean']:+.1f} |"
  )
  return "\n".join(rows)


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.1f} %"


def _change(a: float | None, b: float | None) -> str:
  return "-" if a is None or b is None else f"{100 * (b - a):+.1f}"


def plot_curves(metrics: Sequence[dict[str, Any]], evals: Sequence[dict[str, Any]], file: str | Path) -> None:
  """Reward, accuracy, response length, zero-advantage groups, pool size and entropy over steps."""
  steps = [row["step"] for row in metrics]
  pool = next(name for name in metrics[0] if name.endswith("/pool_size"))
  with plt.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5), constrained_layout=True)
    _line(axes[0, 0], steps, metrics, {"reward/mean": "reward"}, "mean reward of the batch")
    training = {"reward/accuracy": "training batch", "reward/format": "format, training batch"}
    _line(axes[0, 1], steps, metrics, training, "accuracy")
    if evals:
      at = [row["step"] for row in evals]
      axes[0, 1].plot(at, [row["pass@1"] for row in evals], "o-", color="C3", ms=3, label="held-out, temperature 1")
      axes[0, 1].plot(at, [row["greedy"] for row in evals], "s--", color="C4", ms=3, label="held-out, greedy")
    axes[0, 1].set_ylim(0, 1.02)
    axes[0, 1].legend(frameon=False)
    _line(axes[0, 2], steps, metrics, {"response/length_mean": ""}, "mean response length, tokens")
    shares = {"groups/zero_advantage_frac": "zero advantage", "groups/all_correct_frac": "all correct",
              "groups/all_wrong_frac": "all wrong"}  # fmt: skip
    _line(axes[1, 0], steps, metrics, shares, "share of groups")
    axes[1, 0].set_ylim(0, 1.02)
    axes[1, 0].legend(frameon=False)
    _line(axes[1, 1], steps, metrics, {pool: ""}, "prompts in the pool (resampled each epoch)")
    axes[1, 1].set_ylim(bottom=0)
    _line(axes[1, 2], steps, metrics, {"policy/entropy": ""}, "policy entropy, nats a token")
    for axis in axes[1]:
      axis.set_xlabel("step")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _line(
  axis: Axes, steps: Sequence[int], metrics: Sequence[dict[str, Any]], keys: dict[str, str], title: str
) -> None:
  for key, label in keys.items():
    values = [float("nan") if row[key] is None else row[key] for row in metrics]
    axis.plot(steps, values, lw=1.1, label=label or None)
  axis.set_title(title, fontsize=9)
