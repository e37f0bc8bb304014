"""Summarizes a finished run: a table that compares the base with the trained policy, and a figure of the curves."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes

from srpo_jax.analysis.drawing import SHEET, draw_curve, draw_scores, mark_stages, points_of, sheet
from srpo_jax.analysis.reflection import KINDS
from srpo_jax.analysis.run_files import JsonRow
from srpo_jax.data.difficulty import difficulty_rank
from srpo_jax.training.workdir import read_rows
from srpo_jax.utils.paths import as_path
from srpo_jax.utils.text import say

TABLE_ROWS = (  # (label, key of an eval.jsonl row)
  ("pass@1, temperature 1", "pass@1"),
  ("accuracy, greedy", "greedy"),
  ("format rate, temperature 1", "format_rate"),
  ("format rate, greedy", "greedy_format_rate"),
  ("accuracy of well-formed, temperature 1", "well_formed_accuracy"),
  ("accuracy of well-formed, greedy", "greedy_well_formed_accuracy"),
)


def summarize(workdir: str | Path) -> None:
  """Prints a table for each held-out set that the run evaluated, and writes WORKDIR/curves.png."""
  workdir = as_path(workdir)
  evals = read_rows(workdir / "eval.jsonl")
  metrics = read_rows(workdir / "metrics.jsonl")
  for rows in by_set(evals).values():
    say(comparison_table(rows, stage_starts(metrics)) + "\n")
  if metrics:
    plot_curves(metrics, evals, workdir / "curves.png")
    print(f"curves: {workdir / 'curves.png'}")


def by_set(evals: Sequence[JsonRow]) -> dict[str, list[JsonRow]]:
  """Returns the rows of eval.jsonl by set."""
  sets: dict[str, list[JsonRow]] = {}
  for row in evals:
    sets.setdefault(row["set"], []).append(row)
  return sets


def stage_starts(metrics: Sequence[JsonRow]) -> dict[int, int]:
  """Returns the first step of each stage after the first -> number of the stage.

  A stage that had nothing to do has no entry.
  """
  return {row["step"]: row["stage"] for before, row in pairwise(metrics) if row["stage"] != before["stage"]}


def comparison_table(evals: Sequence[JsonRow], starts: Collection[int] = ()) -> str:
  """Returns a Markdown table of one set's evaluations, in percent.

  Its columns are the first evaluation, those at stage starts and the last one, then the changes from each to the next.

  Args:
    evals: rows of eval.jsonl of one set.
    starts: steps at which stages began.
  """
  marks = [evals[0], *(row for row in evals[1:-1] if row["step"] in starts), evals[-1]]
  with_greedy = any(row["greedy"] is not None for row in marks)  # `eval.greedy` turns greedy responses off
  shown = [(label, key) for label, key in TABLE_ROWS if with_greedy or "greedy" not in key]
  lines = [(label, [row[key] for row in marks]) for label, key in shown]
  for level in sorted(marks[0]["by"], key=difficulty_rank):
    lines.append((f"{level}, temperature 1", [row["by"][level] for row in marks]))
    if with_greedy:
      lines.append((f"{level}, greedy", [row["greedy_by"][level] for row in marks]))
  first = "base" if marks[0]["step"] == 0 else f"step {marks[0]['step']}"
  changes = ["change"] if len(marks) == 2 else [f"change to step {row['step']}" for row in marks[1:]]
  title = f"{marks[0]['set']}, {marks[0]['n']} problems"
  head = [title, first, *(f"step {row['step']}" for row in marks[1:]), *changes]
  rows = [head, ["---", *["---:"] * (len(head) - 1)]]
  for label, values in lines:
    rows.append([label, *map(_percent, values), *(_change(a, b) for a, b in pairwise(values))])
  lengths = [row["length_mean"] for row in marks]
  rows.append(
    ["mean response length, tokens", *(f"{n:.1f}" for n in lengths), *(f"{b - a:+.1f}" for a, b in pairwise(lengths))]
  )
  return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.1f} %"


def _change(a: float | None, b: float | None) -> str:
  return "-" if a is None or b is None else f"{100 * (b - a):+.1f}"


def plot_curves(metrics: Sequence[JsonRow], evals: Sequence[JsonRow], file: Path) -> None:
  """Draws reward, accuracy, held-out accuracy, length, groups, pools, code share, entropy and reflection over steps."""
  domains = [name.removesuffix("/pool_size") for name in metrics[0] if name.endswith("/pool_size")]
  with sheet(3, 3, size=(10.5, 7.2), font_size=8, file=file) as axes:
    _lines(axes[0, 0], metrics, {"reward/mean": ""}, "mean reward of the batch")
    accuracy = {f"{domain}/accuracy": domain for domain in domains} | {"reward/format": "format"}
    _lines(axes[0, 1], metrics, accuracy, "training batch: accuracy, format")
    for number, (name, rows) in enumerate(by_set(evals).items()):
      at, color = [row["step"] for row in rows], f"C{number}"
      draw_scores(axes[0, 2], at, [row["pass@1"] for row in rows], SHEET, color=color, label=name)
      if any(row["greedy"] is not None for row in rows):
        draw_scores(axes[0, 2], at, [row["greedy"] for row in rows], SHEET, color=color, style="s--", alpha=0.6)
    axes[0, 2].set_title("held-out accuracy (dashed: greedy)", fontsize=9)
    lengths = {f"{domain}/length_mean": domain for domain in domains}
    _lines(axes[1, 0], metrics, lengths, "mean response length, tokens")
    shares = {"groups/zero_advantage_frac": "zero advantage", "groups/all_correct_frac": "all correct",
              "groups/all_wrong_frac": "all wrong"}  # fmt: skip
    _lines(axes[1, 1], metrics, shares, "share of groups")
    pools = {f"{domain}/pool_size": domain for domain in domains}
    _lines(axes[1, 2], metrics, pools, "prompts in the pool (resampled each epoch)", width=1)
    _lines(axes[2, 0], metrics, {"batch/code_share": ""}, "code's share of the batch", width=1)
    _lines(axes[2, 1], metrics, {"policy/entropy": ""}, "policy entropy, nats a token")
    rates = {f"reflection/{kind}_per_1k_tokens": kind for kind in KINDS}
    _lines(axes[2, 2], metrics, rates, "phrases of reflection per 1,000 tokens")
    for axis in (axes[0, 1], axes[0, 2], axes[1, 1], axes[2, 0]):
      axis.set_ylim(0, 1.02)
    for axis in (axes[1, 2], axes[2, 2]):
      axis.set_ylim(bottom=0)
    for axis in axes.flat:
      mark_stages(axis, stage_starts(metrics), "0.5")
      if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=7)
    for start, number in stage_starts(metrics).items():
      axes[0, 0].annotate(f" stage {number}", (start, axes[0, 0].get_ylim()[1]), fontsize=7, color="0.4", va="top")
    for axis in axes[2]:
      axis.set_xlabel("step")


def _lines(axis: Axes, metrics: Sequence[JsonRow], keys: dict[str, str], title: str, *, width: int = 9) -> None:
  """Draws curves of metrics.jsonl with their running means. Joins the values of a domain that is not in every batch."""
  curves = [(label, points) for key, label in keys.items() if (points := points_of(metrics, key))]
  for number, (label, points) in enumerate(curves):
    steps, values = zip(*points, strict=True)
    draw_curve(axis, steps, values, SHEET, color=f"C{number}", label=label, width=width)
  axis.set_title(title, fontsize=9)
