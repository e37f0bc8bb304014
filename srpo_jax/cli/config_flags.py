"""Command lines with a config file: --config=configs/X.py --config.section.field=value."""

import importlib.util
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from srpo_jax.utils import fields
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.renamed import current_args


def parse_config(command: str, args: Sequence[str]) -> tuple[dict[str, Any], str]:
  """Returns the plain values of the config file that `args` names, with its overrides, and the config's name.

  The name consists of the file's name and the variant: tiny-staged for configs/tiny.py:staged.

  Args:
    command: name of the command, as in `renamed.FLAGS`.

  Raises:
    InputError: a flag, a config field or the config file is wrong.
  """
  file, rest = _config_file(current_args(command, args))
  if not file:
    raise InputError("--config: missing, expected --config=configs/NAME.py")
  config = load_config(file)
  rest, instructions = _split_instructions(rest, config.get("prompt"))
  raw = _parse(config, [command, *rest])
  path, _, variant = file.partition(":")
  return _with_instructions(raw, instructions), f"{Path(path).stem}{variant and '-'}{variant}"


def override(raw: dict[str, Any], args: Sequence[str]) -> dict[str, Any]:
  """Returns the plain values of a config with `--config.section.field=value` overrides applied.

  Raises:
    InputError: an argument is not an override, or has an unknown field or a value of the wrong type.
  """
  args, instructions = _split_instructions(current_args("", args), raw.get("prompt"))
  argv = ["config", *args]
  for arg in argv[1:]:  # checked here, because ml_collections names only the last part of an unknown field
    path, found = arg.partition("=")[0].removeprefix("--"), {"config": raw}
    for name in path.split("."):
      if not isinstance(found, dict) or name not in found:
        raise InputError(f"{path}: unknown field")
      found = found[name]
  config = ConfigDict(raw, type_safe=True, convert_dict=True)
  return _with_instructions(_parse(config, argv), instructions)


def _split_instructions(args: Sequence[str], section: Any) -> tuple[list[str], dict[tuple[str, ...], str]]:
  """Separates `--config.prompt.DOMAIN=TEXT` and `--config.prompt.instructions.DOMAIN=TEXT` from the other arguments.

  ml_collections would refuse them for a user's domain, because the config has no field for it.

  Args:
    section: the section `prompt` of the config. Its own fields are not domains.

  Returns:
    the other arguments, and path within the section -> text.
  """
  rest: list[str] = []
  found: dict[tuple[str, ...], str] = {}
  left = iter(args)
  for arg in left:
    match = re.fullmatch(r"--?config\.prompt\.(instructions\.)?(\w+)(?:=(.*))?", arg, re.DOTALL)
    if not match or (not match[1] and section is not None and match[2] in section):
      rest.append(arg)
    else:
      found[("instructions", match[2]) if match[1] else (match[2],)] = next(left, "") if match[3] is None else match[3]
  return rest, found


def _with_instructions(raw: dict[str, Any], found: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
  """Puts the texts that `_split_instructions` found into the values of a config.

  `make_config` refuses those of unknown domains.
  """
  for path, text in found.items():
    section = raw.get("prompt")
    for name in path[:-1]:
      section = section.get(name) if isinstance(section, dict) else None
    if not isinstance(section, dict):
      raise InputError(f"config.prompt.{'.'.join(path)}: unknown field")
    section[path[-1]] = text
  return raw


def fields_help(kind: type[Any], args: Sequence[str] = ()) -> str:
  """Returns the help text of a config's fields by section.

  It shows the values of the file that `args` names in --config, or else the defaults of the dataclass `kind`.

  Raises:
    InputError: the config file cannot be loaded.
  """
  file, _ = _config_file(args)
  values = load_config(file).to_dict() if file else fields.defaults(kind)
  source = file or f"{kind.__module__.replace('.', '/')}.py"
  text = fields.describe(kind, values)
  marks = " ([S] default stated by the paper's summaries, [I] inferred)" if "[I]" in text else ""
  return f"Config fields, with the values of {source}{marks}:\n{text}"


def load_config(named: str) -> ConfigDict:
  """Returns the result of get_config() in a config file, or of get_config(VARIANT) for FILE:VARIANT.

  Raises:
    InputError: the file does not exist or fails. The message names the file and the error.
  """
  wanted, colon, variant = named.partition(":")
  file = find_recipe(wanted)
  # config_flags.DEFINE_config_file is not used, because it needs load_module(), which Python 3.15 no longer has.
  loader = SourceFileLoader("srpo_jax_config_file", file)
  spec = importlib.util.spec_from_file_location(loader.name, file, loader=loader)
  assert spec is not None  # never None with a loader
  module = sys.modules[loader.name] = importlib.util.module_from_spec(spec)  # dataclasses in the file look it up
  try:
    loader.exec_module(module)
    config = module.get_config(variant) if colon else module.get_config()
  except InputError:
    raise
  except SyntaxError as error:
    own = error.filename is None or Path(error.filename).resolve() == Path(file).resolve()
    raise InputError(f"{file if own else error.filename}:{error.lineno}: {error.msg}") from None
  except (AttributeError, KeyError, TypeError, ValueError) as error:  # often due to a wrong variant
    raise InputError(f"flags: {type(error).__name__}: {error} ({named})") from error
  except Exception as error:  # a config file may raise anything
    raise InputError(f"{file}: {type(error).__name__}: {error}") from error
  if not isinstance(config, ConfigDict):
    raise InputError(f"{file}: expected get_config() to return a ConfigDict, got {type(config).__name__}")
  return config


def find_recipe(file: str) -> str:
  """Returns the path of a config file: `file` itself, or else the installed recipe with that name.

  A wheel has the recipes as `srpo_jax.configs`, so that configs/tiny.py can be named in any directory. A file in the
  current directory takes precedence. `from configs import base` within a recipe searches in the same order.

  Raises:
    InputError: neither of them exists.
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


def _config_file(args: Sequence[str]) -> tuple[str, list[str]]:
  """Returns the value of --config (empty if it is missing) and the other arguments."""
  file, rest, left = "", [], iter(args)
  for arg in left:
    if arg in ("--config", "-config"):
      file = next(left, "")
    elif arg.startswith(("--config=", "-config=")):
      file = arg.partition("=")[2]
    else:
      rest.append(arg)
  return file, rest


def _parse(config: ConfigDict, argv: Sequence[str]) -> dict[str, Any]:
  """Returns the plain values of `config` with the overrides in `argv`. Raises InputError for a wrong flag."""
  values = flags.FlagValues()
  try:
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=list(argv))
    extra = values(argv)[1:]
  except InputError:
    raise
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    if field := _unknown_field(error, argv):
      raise InputError(field) from None
    last = str(error).strip().splitlines()[-1]  # last line of a traceback
    raise InputError(f"flags: {last}") from None
  if extra:
    raise InputError(f"{extra[0]}: unexpected argument, expected --config.section.field=value")
  overridden: dict[str, Any] = values.config.to_dict()
  return overridden


def _unknown_field(error: Exception, argv: Sequence[str]) -> str | None:
  """Returns the message for an argument with an unknown field. None: it is another error.

  ml_collections names only the last part of such a field. The message has the whole path.
  """
  name, near = re.match(r"[\"'\\]*(\w+)", str(error)), re.search(r'Did you mean "(\w+)"', str(error))
  for path in (arg.partition("=")[0].removeprefix("--") for arg in argv if arg.startswith("--config.")):
    if name and isinstance(error, (AttributeError, KeyError)) and name[1] in path.split(".")[1:]:
      return f"{path}: unknown field{(near and f', expected {near[1]}') or ''}"
  return None
