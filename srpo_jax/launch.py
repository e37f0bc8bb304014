"""Trains: python -m srpo_jax.launch --config=configs/tiny.py [--workdir=DIR] [--config.section.field=value ...]

Started again on the same workdir it resumes.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from srpo_jax.config import Config, make_config
from srpo_jax.errors import InputError, run_cli


def parse_flags(args: Sequence[str]) -> tuple[Config, Path]:
  """The checked config and the workdir (default runs/NAME of the config file).

  Raises:
    InputError: anything that absl or ml_collections would end with a traceback.
  """
  values = flags.FlagValues()
  argv = ["launch", *args]
  config_flags.DEFINE_config_file("config", None, "The config file.", flag_values=values, sys_argv=argv)
  flags.DEFINE_string("workdir", None, "Where the run's files go; default runs/NAME.", flag_values=values)
  if "--help" in args or "-h" in args:
    print(__doc__)
    sys.exit(0)
  file = next((a.partition("=")[2] for a in args if a.startswith("--config=")), None)
  if file is None and "--config" in args[:-1]:
    file = args[args.index("--config") + 1]
  if not file:
    raise InputError("--config: missing, expected --config=configs/NAME.py")
  if not Path(file.partition(":")[0]).is_file():
    raise InputError(f"--config: {file}: no such file")
  try:
    extra = values(argv)[1:]
    raw = values.config
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    raise InputError(f"flags: {error}") from None
  except SyntaxError as error:
    raise InputError(f"{file}:{error.lineno}: {error.msg}") from None
  except (ImportError, NameError, RuntimeError, LookupError, ArithmeticError, AssertionError) as error:
    raise InputError(f"{file}: {type(error).__name__}: {error}") from error
  if extra:
    raise InputError(f"{extra[0]}: unexpected argument, expected --config.section.field=value")
  return make_config(raw), Path(values.workdir or Path("runs") / Path(file).stem)


def main(args: Sequence[str]) -> None:
  config, workdir = parse_flags(args)
  logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
  for noisy in ("absl", "jax", "orbax", "transformers"):
    logging.getLogger(noisy).setLevel(logging.ERROR)
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
