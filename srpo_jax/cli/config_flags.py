"""The command line of an entry point with a config file: --config=configs/X.py --config.section.field=value."""

import importlib.util
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from srpo_jax.utils.errors import InputError


def parse_config(program: str, doc: str, args: Sequence[str]) -> dict[str, Any]:
  """The plain values of the config file that `args` names, with its overrides; --help prints `doc` and exits."""
  return parse_config_and(program, doc, args, {})[0]


def override(raw: dict[str, Any], args: Sequence[str]) -> dict[str, Any]:
  """The plain values of a config with `--config.section.field=value` overrides in place.

  Raises:
    InputError: another argument, an unknown field, or a value of another type.
  """
  values = flags.FlagValues()
  config = ConfigDict(raw, type_safe=True, convert_dict=True)
  argv = ["config", *args]
  for arg in args:  # ml_collections names an unknown field by its last part alone
    path, found = arg.partition("=")[0].removeprefix("--"), {"config": raw}
    for name in path.split("."):
      if not isinstance(found, dict) or name not in found:
        raise InputError(f"{path}: unknown field")
      found = found[name]
  config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
  _parse(values, argv)
  return values.config.to_dict()


def check_overrides(args: Sequence[str]) -> None:
  """Raises InputError where one of what an option parser left over is no `--config.section.field=value`."""
  for arg in args:
    if not arg.startswith("--config."):
      raise InputError(f"{arg}: unknown option (see --help)")


def parse_config_and(
  program: str, doc: str, args: Sequence[str], options: Mapping[str, str]
) -> tuple[dict[str, Any], str, dict[str, str | None]]:
  """The same, with the config's name and the values of more flags (name -> help), None where one is not given.

  The name is that of the file, and of what stands after its colon: tiny-staged of configs/tiny.py:staged.

  Raises:
    InputError: anything that absl or ml_collections would end with a traceback.
  """
  if "--help" in args or "-h" in args:
    print(doc)
    sys.exit(0)
  file = next((a.partition("=")[2] for a in args if a.startswith("--config=")), None)
  if file is None and "--config" in args[:-1]:
    file = args[args.index("--config") + 1]
  if not file:
    raise InputError("--config: missing, expected --config=configs/NAME.py")
  named, _, variant = file.partition(":")
  found = find_recipe(named)
  argv = [program, *(a.replace(named, found, 1) if a in (file, f"--config={file}") else a for a in args)]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", None, "The config file.", flag_values=values, sys_argv=argv)
  for name, help in options.items():
    flags.DEFINE_string(name, None, help, flag_values=values)
  try:
    _parse(values, argv)
    raw = values.config
  except SyntaxError as error:
    raise InputError(f"{found}:{error.lineno}: {error.msg}") from None
  except (ImportError, NameError, RuntimeError, LookupError, ArithmeticError, AssertionError) as error:
    raise InputError(f"{found}: {type(error).__name__}: {error}") from error
  name = f"{Path(found).stem}{variant and '-'}{variant}"
  return raw.to_dict(), name, {option: values[option].value for option in options}


def find_recipe(file: str) -> str:
  """Returns the path of a config file: `file` itself, or else the installed recipe of that name.

  A wheel holds the recipes as `srpo_jax.configs`, so that configs/tiny.py can be named in any directory. A file in the
  current directory wins. `from configs import base` within a recipe looks in the same order.

  Raises:
    InputError: neither exists.
  """
  installed = importlib.util.find_spec("srpo_jax.configs")  # None in a source tree that is not installed
  folders = list(installed.submodule_search_locations or ()) if installed else []
  if folders and "configs" not in sys.modules:
    spec = ModuleSpec("configs", None, is_package=True)
    elsewhere = (str(Path(folder, "configs").absolute()) for folder in sys.path)
    spec.submodule_search_locations = [str(Path("configs").absolute()), *folders, *elsewhere]
    sys.modules["configs"] = importlib.util.module_from_spec(spec)
  if Path(file).is_file():
    return file
  for folder in folders:
    if Path(file).parent == Path("configs") and (path := Path(folder, Path(file).name)).is_file():
      logging.getLogger(__name__).warning("%s is not in the current directory: using the installed %s", file, path)
      return str(path)
  raise InputError(f"--config: {file}: no such file")


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> None:
  try:
    extra = values(argv)[1:]
  except InputError:
    raise
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    if field := _unknown_field(error, argv):
      raise InputError(field) from None
    last = str(error).strip().splitlines()[-1]  # of a traceback, where the config file itself raised
    raise InputError(f"flags: {last}") from None
  if extra:
    raise InputError(f"{extra[0]}: unexpected argument, expected --config.section.field=value")


def _unknown_field(error: Exception, argv: Sequence[str]) -> str | None:
  """What is wrong, where an argument names a field that the config has not: ml_collections says its last part alone."""
  name, near = re.match(r"[\"'\\]*(\w+)", str(error)), re.search(r'Did you mean "(\w+)"', str(error))
  for path in (arg.partition("=")[0].removeprefix("--") for arg in argv if arg.startswith("--config.")):
    if name and isinstance(error, (AttributeError, KeyError)) and name[1] in path.split(".")[1:]:
      return f"{path}: unknown field{(near and f', expected {near[1]}') or ''}"
  return None
