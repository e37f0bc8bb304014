"""Draws the curves of one or several runs, one panel for each subject."""

import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from srpo_jax.analysis.drawing import PANEL, draw_curve, draw_scores, mark_stages, points_of
from srpo_jax.analysis.reflection import KINDS
from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.analysis.summary import by_set, stage_starts

STYLES = ("-", "--", ":", "-.")
MOST_POINTS = 600  # points of a curve, more than the width of a panel can show
HEIGHT, ROW = 2.5, 0.15  # inches: height of a figure, and of one line of its legend
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
  "text.parse_math": False,  # shows a $ in the name of a run or a set as it stands
}


@dataclasses.dataclass(frozen=True)
class Panel:
  """Curves of metrics.jsonl that share one pair of axes."""

  title: str
  unit: str
  keys: Mapping[str, str]  # key of metrics.jsonl -> label
  limits: tuple[float | None, float | None] = (None, None)  # ends of the vertical axis, None to fit the values
  smooth: bool = True  # faint values with a running mean over a thirtieth of the curve, else the values as steps


SHARE = (-0.02, 1.02)
FROM_ZERO = (0.0, None)
VERDICTS = {"_correct": "correct", "_wrong": "wrong"}


def panels(domains: Sequence[str]) -> list[Panel]:
  """Returns the panels of the quantities that the paper follows, and of the cost of a run."""

  def by_domain(name: str) -> dict[str, str]:
    return {f"{domain}/{name}": domain for domain in domains}

  return [
    Panel("Mean reward of the batch", "reward", {"reward/mean": ""}),
    Panel("Accuracy of the training batch", "share correct", by_domain("accuracy"), SHARE),
    Panel("Response length", "tokens", by_domain("length_mean")),
    Panel(
      "Groups whose rewards are all alike",
      "share of groups",
      {
        "groups/zero_advantage_frac": "zero advantage",
        "groups/all_correct_frac": "all correct",
        "groups/all_wrong_frac": "all wrong",
      },
      SHARE,
    ),
    Panel("Prompts in the pool", "prompts", by_domain("pool_size"), FROM_ZERO, smooth=False),
    Panel(
      "Format, truncation, language mixing",
      "share of responses",
      {"reward/format": "format", "response/truncated_frac": "truncated", "reward/language_mix": "mixed language"},
      SHARE,
    ),
    *_reflection(),
    Panel("Policy entropy", "nats a token", {"policy/entropy": ""}),
    Panel("Gradient norm", "L2 norm before the clip", {"policy/grad_norm": ""}),
    Panel("Sampler against trainer", "|log-prob gap|, mean, nats", {"policy/logprob_gap": ""}),
    Panel(
      "Time of a step",
      "seconds",
      {"time/rollout_s": "rollout", "time/score_s": "waiting for verdicts", "time/update_s": "update"},
      FROM_ZERO,
    ),
    Panel(
      "Throughput",
      "tokens a second",
      {"throughput/rollout_tokens_per_s": "rollout", "throughput/train_tokens_per_s": "update"},
      FROM_ZERO,
    ),
    Panel("Code's share of the batch", "share of prompts", {"batch/code_share": ""}, SHARE, smooth=False),
  ]


def _reflection() -> list[Panel]:
  rates = {"1k_tokens": "phrases per 1,000 tokens", "response": "phrases a response"}
  everywhere = [
    Panel(title, rates[per], {f"reflection/{kind}_per_{per}": kind for kind in KINDS}, FROM_ZERO)
    for title, per in (("Reflection", "1k_tokens"), ("Reflection of a response", "response"))
  ]
  by_verdict = [
    Panel(
      f"{kind.capitalize()}, by verdict",
      rates["1k_tokens"],
      {f"reflection/{kind}_per_1k_tokens{suffix}": label for suffix, label in VERDICTS.items()},
      FROM_ZERO,
    )
    for kind in KINDS
  ]
  code = {f"reflection/code_frac{suffix}": label for suffix, label in ({"": "all"} | VERDICTS).items()}
  return [*everywhere, *by_verdict, Panel("Code before answers to mathematics", "share of responses", code, FROM_ZERO)]


def draw_panel(panel: Panel, runs: Mapping[str, RunFiles]) -> Figure | None:
  """Draws a panel, or returns None if there are no values.

  Each curve of a single run has its own colour. With several runs, each run has a colour and each curve a line style.
  """
  several = len(runs) > 1
  with plt.rc_context(STYLE):
    figure, axis = _axis()
    drawn: dict[str, str] = {}
    for r, run in enumerate(runs.values()):
      for k, (key, label) in enumerate(panel.keys.items()):
        points = points_of(run.metrics, key)
        if points:
          style, color = STYLES[k % 4] if several else "-", f"C{r if several else k}"
          steps, values = thin(points)
          width = max(len(values) // 30, 1) if panel.smooth else None
          text = "" if several else label
          draw_curve(axis, steps, values, PANEL, color=color, label=text, style=style, width=width)
          drawn[label] = style
    if axis.has_data():
      axis.set_ylim(*panel.limits)
      _mark_stages_of(axis, runs.values())
      if several:
        _legend(figure, runs, {label: style for label, style in drawn.items() if label})
    return _finish(figure, axis, panel.title, "step", panel.unit)


def draw_heldout(name: str, runs: Mapping[str, RunFiles]) -> Figure | None:
  """Draws pass@1 (solid) and greedy accuracy (dashed) on one held-out set. Returns None if there are no values."""
  with plt.rc_context(STYLE):
    figure, axis = _axis()
    for r, run in enumerate(runs.values()):
      rows = by_set(run.evals).get(name, [])
      for style, key in (("o-", "pass@1"), ("s--", "greedy")):
        points = points_of(rows, key)
        if points:
          steps, scores = zip(*points, strict=True)
          draw_scores(axis, steps, scores, PANEL, color=f"C{r}", style=style)
    if axis.has_data():
      axis.set_ylim(*SHARE)
      _mark_stages_of(axis, runs.values())
      _legend(figure, runs if len(runs) > 1 else (), {"pass@1, temperature 1": "-", "greedy": "--"})
    return _finish(figure, axis, f"Held-out: {name}", "step", "share correct")


def draw_epochs(domain: str, run: RunFiles) -> Figure | None:
  """Draws how many prompts each epoch of a domain kept and retired. Returns None if no epoch has ended."""
  if not run.epochs(domain):
    return None
  epochs, retained, retired = _retired(domain, run)
  with plt.rc_context(STYLE):
    figure, axis = _axis()
    axis.bar(epochs, retained, color="C0", width=0.7, label="go on")
    axis.bar(epochs, retired, bottom=retained, color="0.75", width=0.7, label="retired: all correct")
    return _finish(figure, axis, f"History resampling: {domain}", "epoch", "prompts")


def draw_retired(domain: str, runs: Mapping[str, RunFiles]) -> Figure | None:
  """Draws how many prompts each epoch of a domain retired in several runs. Returns None if no epoch has ended."""
  with plt.rc_context(STYLE):
    figure, axis = _axis()
    for r, run in enumerate(runs.values()):
      epochs, _, retired = _retired(domain, run)
      if epochs:
        draw_scores(axis, epochs, retired, PANEL, color=f"C{r}")
    if axis.has_data():
      axis.set_ylim(*FROM_ZERO)
      _legend(figure, runs, {})
    return _finish(figure, axis, f"Retired by history resampling: {domain}", "epoch", "prompts, all correct")


def _retired(domain: str, run: RunFiles) -> tuple[list[int], list[int], list[int]]:
  """Returns the epochs that have ended, and the numbers of prompts that each of them kept and retired."""
  epochs = run.epochs(domain)
  kept = [run.history(domain, epoch).column("retained").to_pylist() for epoch in epochs]
  return epochs, [sum(row) for row in kept], [len(row) - sum(row) for row in kept]


def as_svg(figure: Figure) -> str:
  """Returns a figure as SVG. Equal figures give equal text."""
  out = io.StringIO()
  with plt.rc_context(STYLE):
    figure.savefig(out, format="svg", metadata={"Date": None})
  return out.getvalue()


def as_png(figure: Figure, dpi: int = 120) -> bytes:
  """Returns a figure as PNG, for places where an SVG of thousands of lines would be too long."""
  out = io.BytesIO()
  with plt.rc_context(STYLE):
    figure.savefig(out, format="png", dpi=dpi)
  return out.getvalue()


def _axis() -> tuple[Any, Axes]:
  return plt.subplots(figsize=(3.5, HEIGHT), constrained_layout=True)


def _legend(figure: Any, runs: Iterable[str], styles: Mapping[str, str]) -> None:
  """Adds a legend with the colour of each run and the line style of each curve."""
  handles = [Line2D([], [], color=f"C{r}", label=name) for r, name in enumerate(runs)]
  handles += [Line2D([], [], color="0.3", ls=style, label=label) for label, style in styles.items()]
  _place(figure, handles)


def _place(figure: Any, handles: Sequence[Any]) -> None:
  """Places the legend below the axes, since many curves leave no room inside."""
  longest = max((len(handle.get_label()) for handle in handles), default=0)
  columns = max(1, min(3, 60 // (longest + 6)))
  # Without more height, the legend of many runs would shrink the axes.
  figure.set_figheight(HEIGHT + ROW * max(0, -(-len(handles) // columns) - 2))
  figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def _mark_stages_of(axis: Axes, runs: Iterable[RunFiles]) -> None:
  """Draws a dotted line where a stage begins.

  The lines of the first run are grey. Each other run adds lines in its own colour for stages that begin at other steps.
  """
  marked: set[tuple[int, int]] = set()
  for r, run in enumerate(runs):
    for start, number in stage_starts(run.metrics).items():
      if (number, start) in marked:
        continue
      marked.add((number, start))
      mark_stages(axis, [start], f"C{r}" if r else "0.5")
      if not r:
        place = axis.get_xaxis_transform()
        axis.text(start, 1.0, f"stage {number}", transform=place, fontsize=6, color="0.4", ha="center", va="bottom")


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> tuple[list[float], list[float]]:
  """Returns steps and values of at most `most` points, each the mean of neighbouring points."""
  width = -(-len(points) // most)
  blocks = [points[i : i + width] for i in range(0, len(points), width)]
  steps, values = ([float(np.mean([p[axis] for p in block])) for block in blocks] for axis in (0, 1))
  return steps, values


def _finish(figure: Any, axis: Axes, title: str, x: str, y: str) -> Figure | None:
  """Adds titles and returns the figure, or None if nothing was drawn."""
  plt.close(figure)  # drops pyplot's reference only, so the figure can still be saved
  if not axis.has_data():
    return None
  axis.set(title=title, xlabel=x, ylabel=y)
  axis.xaxis.set_major_locator(MaxNLocator("auto", steps=(1, 2, 5, 10), integer=True, min_n_ticks=1))
  handles, _ = axis.get_legend_handles_labels()
  if handles:
    _place(figure, handles)
  return figure
