"""A run as one HTML file: python -m srpo_jax.report --workdir DIR [--compare DIR ...] [--out FILE]

Curves (those of other runs laid over them), the pass rate of every prompt epoch by epoch, which is what history
resampling saw, and a viewer of rollouts with rewards, advantages and the checker's reasons. The file needs no network.
"""

from collections.abc import Sequence
from pathlib import Path

from srpo_jax.utils.errors import ArgumentParser, InputError, check_positive, run_cli
from srpo_jax.utils.paths import as_path


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(prog="python -m srpo_jax.report", description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--workdir", required=True, type=as_path, help="of the run")
  parser.add_argument("--compare", type=as_path, nargs="+", action="extend", default=[], help="workdirs of other runs")
  parser.add_argument("--out", type=Path, help="file to write; default WORKDIR/report.html")
  parser.add_argument("--max-prompts", type=int, default=20_000, help="rows of the table of prompts")
  parser.add_argument("--max-mb", type=int, default=30, help="of rollouts to read, about")
  options = parser.parse_args(args)
  check_positive(options, "max_prompts", "max_mb")
  out = options.out or options.workdir / "report.html"
  if options.out and not out.parent.is_dir():
    raise InputError(f"--out: expected an existing folder, found {out.parent}")
  if out.is_dir():
    raise InputError(f"--out: expected a file, found the folder {out}")
  # Imported late: a wrong option is told at once.
  from srpo_jax.analysis.report import Limits, make_report
  from srpo_jax.analysis.run_files import RunFiles
  from srpo_jax.training.workdir import write_text

  run, others = RunFiles(options.workdir), [RunFiles(folder) for folder in options.compare]
  page = make_report(run, others, Limits(options.max_prompts, options.max_mb * 1_000_000))
  write_text(out, page)
  print(f"{out}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
  run_cli(main)
