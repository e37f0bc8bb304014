"""Argument parser shared by all commands."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.renamed import current_args


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
  """Prints the description as it is written, and appends the default to each flag's text."""

  def _get_help_string(self, action: argparse.Action) -> str:
    text = action.help or ""
    if action.required:
      return f"{text} Required."
    if action.default in (None, argparse.SUPPRESS) or "Default: " in text:
      return text
    if action.nargs == 0:
      return f"{text} Default: off."
    if action.default in ("", []):
      return f"{text} Default: none."
    return f"{text} Default: %(default)s."


class ArgumentParser(argparse.ArgumentParser):
  """argparse with the conventions of this project.

  Flags cannot be abbreviated, old flags are replaced by the current ones, and an error is raised as InputError.

  Args:
    command: name of the command, as in `python -m srpo_jax.COMMAND`. None: a script, named after its file.
    description: text above the flags in --help, in most cases a module's docstring.
    epilog: text below the flags in --help.
  """

  def __init__(self, command: str | None = None, description: str | None = None, epilog: str | None = None):
    super().__init__(
      prog=command and program(command),
      description=description,
      epilog=epilog,
      formatter_class=HelpFormatter,
      allow_abbrev=False,
      add_help=False,
    )
    self.command = command
    self.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS, help="This help.")

  def parse_known_args(  # type: ignore[override]
    self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
  ) -> tuple[Any, list[str]]:
    given = list(sys.argv[1:] if args is None else args)
    return super().parse_known_args(current_args(self.command or "", given), namespace)

  def error(self, message: str) -> NoReturn:
    raise InputError(f"{self.prog}: {message}")


def program(command: str) -> str:
  """Returns the words with which the user starts the command."""
  if Path(sys.argv[0]).name == "srpo-jax":
    return f"srpo-jax {command}"
  return f"python -m srpo_jax.{command}"


def asks_for_help(args: Sequence[str]) -> bool:
  """Returns True if a command line has --help or -h."""
  return "--help" in args or "-h" in args


def check_overrides(args: Sequence[str]) -> None:
  """Raises InputError if an argument that a parser left over is not `--config.section.field=value`."""
  for arg in args:
    if not arg.startswith("--config."):
      raise InputError(f"{arg}: unknown option (see --help)")


def check_positive(options: argparse.Namespace, *names: str) -> None:
  """Raises InputError if one of the named options is below 1. The options are whole numbers."""
  for name in names:
    if getattr(options, name) < 1:
      raise InputError(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(options, name)}")
