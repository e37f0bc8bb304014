"""The curves of one run or of several, one panel a subject, as SVG."""

import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from srpo_jax.analysis.reflection import KINDS
from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.analysis.summary import by_set, running_mean, stage_starts

Row = dict[str, Any]
STYLES = ("-", "--", ":", "-.")
MOST_POINTS = 600  # of a curve: more than a panel's width shows
STYLE: Any = {
  "font.family": "serif",
  "font.size": 8,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.titlesize": 9,
  "axes.titlepad": 9,
  "axes.linewidth": 0.7,
  "legend.frameon": False,
  "legend.fontsize": 7,
  "svg.fonttype": "path",
  "svg.hashsalt": "srpo_jax",
}


@dataclasses.dataclass(frozen=True)
class Panel:
  """Curves of metrics.jsonl in one frame."""

  title: str
  unit: str
  keys: Mapping[str, str]  # of metrics.jsonl -> label
  share: bool = False  # from 0 to 1


def panels(domains: Sequence[str]) -> list[Panel]:
  """The subjects that the paper watches, and what a run costs."""

  def of(name: str) -> dict[str, str]:
    return {f"{domain}/{name}": domain for domain in domains}

  return [
    Panel("Mean reward of the batch", "reward", {"reward/mean": ""}),
    Panel("Accuracy of the training batch", "share correct", of("accuracy"), share=True),
    Panel("Response length", "tokens", of("length_mean")),
    Panel(
      "Groups whose rewards are all alike",
      "share of groups",
      {
        "groups/zero_advantage_frac": "zero advantage",
        "groups/all_correct_frac": "all correct",
        "groups/all_wrong_frac": "all wrong",
      },
      share=True,
    ),
    Panel("Prompts in the pool", "prompts", of("pool_size")),
    Panel(
      "Format, truncation, language mixing",
      "share of responses",
      {"reward/format": "format", "response/truncated_frac": "truncated", "reward/language_mix": "mixed language"},
      share=True,
    ),
    Panel("Reflection", "phrases per 1,000 tokens", {f"reflection/{kind}_per_1k_tokens": kind for kind in KINDS}),
    Panel(
      "Reflection of correct and wrong responses",
      "phrases per 1,000 tokens",
      {"reflection/recheck_per_1k_tokens_correct": "recheck, correct"}
      | {"reflection/recheck_per_1k_tokens_wrong": "recheck, wrong"},
    ),
    Panel("Code written in answers to mathematics", "share of responses", {"reflection/code_frac": ""}, share=True),
    Panel("Policy entropy", "nats a token", {"policy/entropy": ""}),
    Panel("Gradient norm", "before the clip", {"policy/grad_norm": ""}),
    Panel("Sampler against trainer", "|log-prob gap|, mean", {"policy/logprob_gap": ""}),
    Panel(
      "Time of a step",
      "seconds",
      {"time/rollout_s": "rollout", "time/score_s": "waiting for verdicts", "time/update_s": "update"},
    ),
    Panel(
      "Throughput",
      "tokens a second",
      {"throughput/rollout_tokens_per_s": "rollout", "throughput/train_tokens_per_s": "update"},
    ),
    Panel("Code's share of the batch", "share of prompts", {"batch/code_share": ""}, share=True),
  ]


def draw_panel(panel: Panel, runs: Mapping[str, RunFiles]) -> str | None:
  """A panel as SVG: a colour a curve, or, of several runs, a colour a run and a line style a curve. None: no values."""
  with plt.rc_context(STYLE):
    figure, axis = plt.subplots(figsize=(3.5, 2.3), constrained_layout=True)
    for r, run in enumerate(runs.values()):
      for k, (key, label) in enumerate(panel.keys.items()):
        points = [(row["step"], row[key]) for row in run.metrics if row.get(key) is not None]
        if points:
          several = len(runs) > 1
          _curve(axis, points, f"C{r if several else k}", STYLES[k % 4] if several else "-", "" if several else label)
    if panel.share:
      axis.set_ylim(-0.02, 1.02)
    if len(runs) > 1:
      _legend(axis, runs, {label: STYLES[k % 4] for k, label in enumerate(panel.keys.values()) if label})
    if axis.has_data():
      mark_stages(axis, next(iter(runs.values())).metrics)
    return _finish(figure, axis, panel.title, "step", panel.unit)


def draw_heldout(name: str, runs: Mapping[str, RunFiles]) -> str | None:
  """pass@1 (solid) and greedy accuracy (dashed) on one held-out set."""
  with plt.rc_context(STYLE):
    figure, axis = plt.subplots(figsize=(3.5, 2.3), constrained_layout=True)
    for r, run in enumerate(runs.values()):
      rows = by_set(run.evals).get(name, [])
      for style, key in (("o-", "pass@1"), ("s--", "greedy")):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        if points:
          axis.plot(*zip(*points, strict=True), style, color=f"C{r}", ms=2.5, lw=1)
    axis.set_ylim(-0.02, 1.02)
    _legend(axis, runs if len(runs) > 1 else (), {"pass@1, temperature 1": "-", "greedy": "--"})
    if axis.has_data():
      mark_stages(axis, next(iter(runs.values())).metrics)
    return _finish(figure, axis, f"Held-out: {name}", "step", "share correct")


def draw_epochs(domain: str, run: RunFiles) -> str | None:
  """What each epoch of a domain's pool met, and what it retired."""
  epochs = run.epochs(domain)
  if not epochs:
    return None
  kept = [run.history(domain, epoch).column("retained").to_pylist() for epoch in epochs]
  retained, retired = [sum(row) for row in kept], [len(row) - sum(row) for row in kept]
  with plt.rc_context(STYLE):
    figure, axis = plt.subplots(figsize=(3.5, 2.3), constrained_layout=True)
    axis.bar(epochs, retained, color="C0", width=0.7, label="go on")
    axis.bar(epochs, retired, bottom=retained, color="0.75", width=0.7, label="retired: all correct")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _finish(figure, axis, f"History resampling: {domain}", "epoch", "prompts")


def _legend(axis: Axes, runs: Iterable[str], styles: Mapping[str, str]) -> None:
  """A colour a run, a line style a curve."""
  handles = [Line2D([], [], color=f"C{r}", label=name) for r, name in enumerate(runs)]
  handles += [Line2D([], [], color="0.3", ls=style, label=label) for label, style in styles.items()]
  axis.legend(handles=handles)


def mark_stages(axis: Axes, metrics: Sequence[Row]) -> None:
  """A dotted line where a stage begins."""
  for number, start in enumerate(stage_starts(metrics), 2):
    axis.axvline(start, color="0.5", lw=0.8, ls=":")
    place = axis.get_xaxis_transform()
    axis.text(start, 1.0, f"stage {number}", transform=place, fontsize=6, color="0.4", ha="center", va="bottom")


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> tuple[list[float], list[float]]:
  """Means of neighbouring points, so that at most `most` are left."""
  width = -(-len(points) // most)
  blocks = [points[i : i + width] for i in range(0, len(points), width)]
  steps, values = ([float(np.mean([p[axis] for p in block])) for block in blocks] for axis in (0, 1))
  return steps, values


def _curve(axis: Axes, points: Sequence[tuple[float, float]], color: str, style: str, label: str) -> None:
  """The values, faint, and their running mean over about a thirtieth of the curve."""
  steps, values = thin(points)
  axis.plot(steps, values, lw=0.5, alpha=0.3, color=color)
  axis.plot(steps, running_mean(values, max(len(values) // 30, 1)), style, lw=1.1, color=color, label=label or None)


def _finish(figure: Any, axis: Axes, title: str, x: str, y: str) -> str | None:
  """The figure as SVG; None where nothing was drawn."""
  if not axis.has_data():
    plt.close(figure)
    return None
  axis.set(title=title, xlabel=x, ylabel=y)
  if axis.get_legend() is None and axis.get_legend_handles_labels()[0]:
    axis.legend()
  out = io.StringIO()
  figure.savefig(out, format="svg", metadata={"Date": None})
  plt.close(figure)
  return out.getvalue()
