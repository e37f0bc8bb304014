"""Trains: python -m srpo_jax.launch --config=configs/tiny.py [--workdir=DIR] [--config.section.field=value ...]

Started again on the same workdir it resumes.
"""

from collections.abc import Sequence
from pathlib import Path

from srpo_jax.config import Config, make_config
from srpo_jax.errors import run_cli
from srpo_jax.flags import parse_config_and
from srpo_jax.logs import start_logging
from srpo_jax.paths import as_path


def parse_flags(args: Sequence[str]) -> tuple[Config, Path]:
  """The checked config and the workdir (default runs/NAME of the config file).

  Raises:
    InputError: anything that absl or ml_collections would end with a traceback.
  """
  workdir_help = "Where the run's files go, a folder or gs://BUCKET/FOLDER; default runs/NAME."
  raw, name, given = parse_config_and("launch", __doc__ or "", args, {"workdir": workdir_help})
  return make_config(raw), as_path(given["workdir"] or Path("runs") / name)


def main(args: Sequence[str]) -> None:
  config, workdir = parse_flags(args)
  start_logging()
  # Imported late: a wrong flag is told at once.
  from srpo_jax.analysis.summary import summarize
  from srpo_jax.cache import enable_compilation_cache
  from srpo_jax.run import Run
  from srpo_jax.train import train

  enable_compilation_cache()
  with Run(config, workdir) as run:
    train(run)
  summarize(workdir)


if __name__ == "__main__":
  run_cli(main)
