"""Draws curves of runs on axes, for a run's curves.png, the figures of the study and the panels of the report."""

import contextlib
import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class Look:
  """Line widths and marker sizes of a picture's curves, in points."""

  values_width: float  # width of the line of single values, under their running mean
  values_alpha: float  # opacity of that line
  mean_width: float  # width of a running mean
  scores_width: float  # width of the line through evaluations
  dot: float  # size of a marker
  lone_dot: bool  # True to mark a curve of a single point, which has no line to show


SHEET = Look(values_width=0.7, values_alpha=0.35, mean_width=1.3, scores_width=1.5, dot=3, lone_dot=False)
PANEL = Look(values_width=0.5, values_alpha=0.3, mean_width=1.1, scores_width=1, dot=2.5, lone_dot=True)


@contextlib.contextmanager
def sheet(rows: int, columns: int, *, size: tuple[float, float], font_size: float, file: Path) -> Iterator[Any]:
  """Gives the axes [rows, columns] of a figure, and writes it to `file` as PNG at the end of the body.

  Args:
    size: width and height in inches.
    font_size: font size in points.
  """
  with plt.rc_context({"font.size": font_size, "axes.spines.top": False, "axes.spines.right": False}):
    figure, axes = plt.subplots(rows, columns, figsize=size, constrained_layout=True, squeeze=False)
    try:
      yield axes
      image = io.BytesIO()
      figure.savefig(image, format="png", dpi=130)
      file.write_bytes(image.getvalue())
    finally:
      plt.close(figure)


def draw_curve(
  axis: Axes,
  steps: Sequence[float],
  values: Sequence[float],
  look: Look,
  *,
  color: str,
  label: str = "",
  style: str = "-",
  width: int | None,
) -> None:
  """Draws values over steps.

  Args:
    width: number of values in the running mean, which is drawn over the faint values. None draws the values as steps
      instead.
  """
  line: dict[str, Any] = {"ls": style, "lw": look.mean_width, "color": color, "label": label or None}
  if look.lone_dot and len(steps) == 1:
    line |= {"marker": "o", "ms": look.dot}
  if width is None:
    axis.plot(steps, values, drawstyle="steps-post", **line)
  else:
    axis.plot(steps, values, lw=look.values_width, alpha=look.values_alpha, color=color)
    axis.plot(steps, running_mean(values, width), **line)


def draw_scores(
  axis: Axes,
  places: Sequence[float],
  scores: Sequence[float | None],
  look: Look,
  *,
  color: str,
  label: str = "",
  style: str = "o-",
  alpha: float | None = None,
) -> None:
  """Draws the scores of evaluations, each with a marker. A score of None leaves a gap."""
  values: Any = scores
  axis.plot(places, values, style, color=color, ms=look.dot, lw=look.scores_width, label=label or None, alpha=alpha)


def mark_stages(axis: Axes, places: Iterable[float], color: str) -> None:
  """Draws a dotted line at each place where a stage begins."""
  for place in places:
    axis.axvline(place, color=color, lw=0.8, ls=":")


def points_of(rows: Iterable[dict[str, Any]], key: str) -> list[tuple[float, float]]:
  """Returns the step and the value of each row that has a value for `key`."""
  return [(row["step"], row[key]) for row in rows if row.get(key) is not None]


def running_mean(values: Sequence[float], width: int) -> list[float]:
  """Returns the mean of each value and its neighbours, up to `width // 2` on either side."""
  half = width // 2
  return [float(np.mean(values[max(i - half, 0) : i + half + 1])) for i in range(len(values))]
