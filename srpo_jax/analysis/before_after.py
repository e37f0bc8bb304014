"""Compares the base with the trained policy: python -m srpo_jax.analysis.before_after --workdir DIR

Prints a table with 95 % Wilson intervals for each held-out set, and the responses to one problem before and after
training. The run must have evaluated with one sample a problem. Writes DIR/before_after.png.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from srpo_jax.analysis.drawing import SHEET, draw_curve, points_of, sheet
from srpo_jax.analysis.estimators import Estimate, wilson
from srpo_jax.analysis.run_files import JsonRow
from srpo_jax.analysis.summary import by_set
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.training.smollm2 import source_of
from srpo_jax.training.workdir import open_parquet, read_rows
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.text import say

CURVES = {"reward/mean": "mean reward", "reward/accuracy": "accuracy", "reward/format": "format"}


@dataclasses.dataclass(frozen=True)
class Scores:
  """Shares of an evaluation, with their intervals. `well_formed` is None if no response was well-formed."""

  passed: Estimate
  format: Estimate
  well_formed: Estimate | None


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--workdir", required=True, type=Path, help="Workdir of a finished run.")
  workdir: Path = parser.parse_args(args).workdir
  metrics, evals = read_rows(workdir / "metrics.jsonl"), read_rows(workdir / "eval.jsonl")
  sets = {name: rows for name, rows in by_set(evals).items() if len(rows) > 1}
  if not metrics or not sets:
    raise InputError(f"{workdir}: expected the workdir of a run that evaluated before and after training")
  print(heading(workdir, metrics))
  for name, rows in sets.items():
    say(f"\n{table(workdir, rows[0], rows[-1])}\n\n{responses(workdir, name, rows[0]['step'], rows[-1]['step'])}")
  draw(metrics, sets, workdir / "before_after.png")
  print(f"\ncurves: {workdir / 'before_after.png'}")


def heading(workdir: Path, metrics: Sequence[JsonRow]) -> str:
  """Returns a line that names the model with its source, the seed and the length of the run."""
  config, last = read_json(workdir / "config.json"), metrics[-1]
  minutes = sum(row["time/step_s"] for row in metrics) / 60
  model = source_of(workdir / "model") if config["model"]["build"] else config["model"]["path"]
  return (
    f"{model}; seed {config['train']['seed']}; {len(metrics)} updates, {last['rollouts/spent']:,} rollouts, "
    f"{minutes:.1f} minutes of training"
  )


def scores(workdir: Path, row: JsonRow) -> Scores:
  """Returns the shares of one evaluation.

  Raises:
    InputError: several samples a problem, which are not independent.
  """
  if row["samples"] != 1:
    raise InputError(f"{workdir}: eval.samples is {row['samples']}, expected 1: intervals need independent outcomes")
  n, n_formed = row["n"], round(row["format_rate"] * row["n"])
  accuracy = row["well_formed_accuracy"]
  return Scores(
    passed=wilson(round(row["pass@1"] * n), n),
    format=wilson(n_formed, n),
    well_formed=None if accuracy is None else wilson(round(accuracy * n_formed), n_formed),
  )


def table(workdir: Path, before: JsonRow, after: JsonRow) -> str:
  """Returns a Markdown table of two evaluations on one set, and how much of the gain is due to format."""
  base, trained = scores(workdir, before), scores(workdir, after)
  head = [f"{before['set']}, {before['n']} problems", "base" if before["step"] == 0 else f"step {before['step']}"]
  lines = [[*head, f"step {after['step']}", "change"], ["---", "---:", "---:", "---:"]]
  for label, a, b in (
    ("pass@1, temperature 1", base.passed, trained.passed),
    ("format rate", base.format, trained.format),
    ("accuracy of well-formed responses", base.well_formed, trained.well_formed),
  ):
    change = _points(b.value - a.value) if a and b else "-"
    lines.append([label, _percent(a), _percent(b), change])
  text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
  return f"{text}\n\n{_parts(base, trained)}" if base.well_formed and trained.well_formed else text


def _percent(share: Estimate | None) -> str:
  return "-" if share is None else f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _points(change: float) -> str:
  return f"{round(100 * change, 1) + 0.0:+.1f}"  # adding 0.0 turns -0.0 into 0.0


def _parts(base: Scores, trained: Scores) -> str:
  """Splits the gain in pass@1 into format and accuracy. The product's change is shared evenly between its factors."""
  assert base.well_formed and trained.well_formed
  accuracies, rates = (base.well_formed.value, trained.well_formed.value), (base.format.value, trained.format.value)
  gain = trained.passed.value - base.passed.value
  by_format = (rates[1] - rates[0]) * sum(accuracies) / 2
  by_accuracy = (accuracies[1] - accuracies[0]) * sum(rates) / 2
  rest = gain - by_format - by_accuracy
  return (
    f"Of the change of {_points(gain)} points in pass@1, {_points(by_format)} come from the format rate, "
    f"{_points(by_accuracy)} from the accuracy of well-formed responses, and {_points(rest)} from correct answers in "
    "another form."
  )


def responses(workdir: Path, name: str, before: int, after: int) -> str:
  """Returns one problem's response before and after training.

  It is the first problem, in the order of the set, that only the trained policy solved, or else the first problem.
  """
  first, last = (_heldout(workdir, name, step) for step in (before, after))
  gained = (i for i, (a, b) in enumerate(zip(first, last, strict=True)) if b["correct"] == 1 and a["correct"] != 1)
  chosen = next(gained, None)
  which = "first problem" if chosen is None else "first problem that only the trained policy solved"
  rows = first[chosen or 0], last[chosen or 0]
  texts = (" ".join(row["response"].split()) + (" [cut]" if row["truncated"] else "") for row in rows)
  return f"{rows[0]['prompt_id']} ({which})\n  before: {next(texts)}\n  after:  {next(texts)}"


def _heldout(workdir: Path, name: str, step: int) -> list[dict[str, Any]]:
  file = workdir / f"heldout/{name}/step_{step:06d}.parquet"
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected the responses of an evaluation")
  with open_parquet(file) as stream:
    return pq.read_table(stream).to_pylist()


def draw(metrics: Sequence[JsonRow], sets: dict[str, list[JsonRow]], file: Path) -> None:
  """Draws the training batches' reward, accuracy and format over steps, and held-out pass@1 with its intervals."""
  with sheet(1, 2, size=(8.4, 3.2), font_size=9, file=file) as axes:
    for number, (key, label) in enumerate(CURVES.items()):
      steps, values = zip(*points_of(metrics, key), strict=True)
      draw_curve(axes[0, 0], steps, values, SHEET, color=f"C{number}", label=label, width=5)
    axes[0, 0].set_title("training batches", fontsize=9)
    for number, (name, rows) in enumerate(sets.items()):
      found = [scores(file.parent, row).passed for row in rows]
      errors = [[s.value - s.low for s in found], [s.high - s.value for s in found]]
      axes[0, 1].errorbar(
        [row["step"] for row in rows], [s.value for s in found], errors, fmt="o-", ms=4, capsize=3, color=f"C{number}",
        label=name,
      )  # fmt: skip
    axes[0, 1].set_title("held-out pass@1, 95 % intervals", fontsize=9)
    for axis in axes.flat:
      axis.set_ylim(0, 1.02)
      axis.set_xlabel("update")
      axis.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
  run_cli(main)
