"""Writes a run as one HTML file.

    python -m srpo_jax.report --workdir DIR [--compare DIR ...] [--out FILE]

The file shows the training curves, with the curves of other runs on top. It shows the pass rate of every prompt in
every epoch, which history resampling works from. It has a viewer of rollouts with rewards, advantages and the checker's
reasons. The page needs no network.
"""

from collections.abc import Sequence

from srpo_jax.cli import flags
from srpo_jax.cli.argument_types import path, whole
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.utils.errors import InputError, run_cli


def main(args: Sequence[str]) -> None:
  """Writes the page and prints its size."""
  parser = ArgumentParser("report", __doc__)
  flags.add(parser, "--workdir", required=True)
  parser.add_argument(
    "--compare", type=path, nargs="+", action="extend", default=[], metavar="DIR", help="Run directories to compare."
  )
  flags.add(parser, "--out", help="File to write. Default: WORKDIR/report.html.")
  parser.add_argument("--max-prompts", type=whole(1), default=20_000, help="Largest number of prompts in the table.")
  parser.add_argument("--max-mb", type=whole(1), default=30, help="Approximate size of the rollouts to read, in MB.")
  options = parser.parse_args(args)
  out = options.out or options.workdir / "report.html"
  if options.out and not out.parent.is_dir():
    raise InputError(f"--out: expected an existing folder, found {out.parent}")
  if out.is_dir():
    raise InputError(f"--out: expected a file, found the folder {out}")
  # Imported late, so that a wrong option is reported at once.
  from srpo_jax.analysis.report import Limits, make_report
  from srpo_jax.analysis.run_files import RunFiles
  from srpo_jax.training.workdir import write_text

  run, others = RunFiles(options.workdir), [RunFiles(folder) for folder in options.compare]
  page = make_report(run, others, Limits(options.max_prompts, options.max_mb * 1_000_000))
  write_text(out, page)
  print(f"{out}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
  run_cli(main)
