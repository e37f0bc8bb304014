"""Draws the paper's two comparisons from finished toy runs: python -m srpo_jax.analysis.study --runs DIR [--out DIR]

    DIR/regime-{math,code,mixed,staged}     held-out accuracy by domain, over steps
    DIR/resample-{none,dynamic,history}     held-out accuracy, over rollouts spent

Writes regimes.png, resampling.png and study.md. `make study` makes the runs first.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from srpo_jax.analysis.drawing import SHEET, draw_scores, mark_stages, sheet
from srpo_jax.analysis.run_files import JsonRow
from srpo_jax.analysis.summary import by_set, stage_starts
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.training.workdir import read_rows
from srpo_jax.utils.errors import InputError, run_cli

REGIMES = {"math": "math only", "code": "code only", "mixed": "mixed from the start", "staged": "math, then code"}
RESAMPLING = {"none": "GRPO", "dynamic": "dynamic sampling (DAPO)", "history": "history resampling (SRPO)"}


def read_run(folder: Path) -> tuple[list[JsonRow], list[JsonRow]]:
  """Returns the rows of metrics.jsonl and of eval.jsonl.

  Raises:
    InputError: the folder is not the workdir of a run with evaluations.
  """
  metrics, evals = read_rows(folder / "metrics.jsonl"), read_rows(folder / "eval.jsonl")
  if not metrics or not evals:
    raise InputError(f"{folder}: expected the workdir of a run that evaluated")
  return metrics, evals


def spent_at(metrics: Sequence[JsonRow], step: int) -> int:
  """Returns the number of rollouts spent on the first `step` updates."""
  return next((row["rollouts/spent"] for row in reversed(metrics) if row["step"] < step), 0)


def plot(
  runs: dict[str, tuple[list[JsonRow], list[JsonRow]]],
  labels: dict[str, str],
  place: Callable[[Sequence[JsonRow], int], float],
  axis_label: str,
  file: Path,
) -> None:
  """Draws one panel for each held-out set, with one curve for each run.

  Args:
    runs: rows of metrics.jsonl and of eval.jsonl, by key of the run.
    labels: label of each run, by the same keys.
    place: maps the metrics of a run and a step to a position on the horizontal axis.
    axis_label: label of the horizontal axis.
    file: PNG file to write.
  """
  sets = list(by_set(next(iter(runs.values()))[1]))
  with sheet(1, len(sets), size=(4.6 * len(sets), 3.4), font_size=9, file=file) as axes:
    for axis, name in zip(axes[0], sets, strict=True):
      for number, (key, (metrics, evals)) in enumerate(runs.items()):
        rows = by_set(evals)[name]
        at = [place(metrics, row["step"]) for row in rows]
        draw_scores(axis, at, [row["pass@1"] for row in rows], SHEET, color=f"C{number}", label=labels[key])
        mark_stages(axis, [place(metrics, start) for start in stage_starts(metrics)], f"C{number}")
      axis.set_title(f"held-out pass@1, {name}", fontsize=9)
      axis.set_xlabel(axis_label)
      axis.set_ylim(0, 1.02)
    axes[0, 0].legend(frameon=False, fontsize=8)


def table(runs: dict[str, tuple[list[JsonRow], list[JsonRow]]], labels: dict[str, str]) -> str:
  """Returns a Markdown table of the last evaluation of each run, with its steps and rollouts."""
  sets = list(by_set(next(iter(runs.values()))[1]))
  lines = [["run", "steps", "rollouts", *sets], ["---", *["---:"] * (2 + len(sets))]]
  for key, (metrics, evals) in runs.items():
    last = [f"{100 * by_set(evals)[name][-1]['pass@1']:.1f} %" for name in sets]
    lines.append([labels[key], str(len(metrics)), f"{metrics[-1]['rollouts/spent']:,}", *last])
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--runs", required=True, type=Path, help="Folder of the seven workdirs.")
  parser.add_argument("--out", type=Path, help="Folder to write. Default: --runs.")
  options = parser.parse_args(args)
  out = options.out or options.runs
  regimes = {name: read_run(options.runs / f"regime-{name}") for name in REGIMES}
  resampling = {name: read_run(options.runs / f"resample-{name}") for name in RESAMPLING}
  out.mkdir(parents=True, exist_ok=True)
  plot(regimes, REGIMES, lambda _, step: step, "step", out / "regimes.png")
  plot(resampling, RESAMPLING, spent_at, "rollouts spent", out / "resampling.png")
  text = f"{table(regimes, REGIMES)}\n\n{table(resampling, RESAMPLING)}\n"
  (out / "study.md").write_text(text)
  print(text + f"figures: {out / 'regimes.png'}, {out / 'resampling.png'}")


if __name__ == "__main__":
  run_cli(main)
