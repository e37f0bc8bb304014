"""The command line of an entry point with a config file: --config=configs/X.py --config.section.field=value."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from srpo_jax.errors import InputError


def parse_config(program: str, doc: str, args: Sequence[str]) -> dict[str, Any]:
  """The plain values of the config file that `args` names, with its overrides; --help prints `doc` and exits.

  Raises:
    InputError: anything that absl or ml_collections would end with a traceback.
  """
  if "--help" in args or "-h" in args:
    print(doc)
    sys.exit(0)
  values = flags.FlagValues()
  argv = [program, *args]
  config_flags.DEFINE_config_file("config", None, "The config file.", flag_values=values, sys_argv=argv)
  file = next((a.partition("=")[2] for a in args if a.startswith("--config=")), None)
  if file is None and "--config" in args[:-1]:
    file = args[args.index("--config") + 1]
  if not file:
    raise InputError("--config: missing, expected --config=configs/NAME.py")
  file = file.partition(":")[0]
  if not Path(file).is_file():
    raise InputError(f"--config: {file}: no such file")
  try:
    extra = values(argv)[1:]
    raw = values.config
  except InputError:
    raise
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    raise InputError(f"flags: {error}") from None
  except SyntaxError as error:
    raise InputError(f"{file}:{error.lineno}: {error.msg}") from None
  except (ImportError, NameError, RuntimeError, LookupError, ArithmeticError, AssertionError) as error:
    raise InputError(f"{file}: {type(error).__name__}: {error}") from error
  if extra:
    raise InputError(f"{extra[0]}: unexpected argument, expected --config.section.field=value")
  return raw.to_dict()
