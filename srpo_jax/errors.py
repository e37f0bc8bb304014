"""Bad input ends with one clear line and exit status 2."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn


class InputError(ValueError):
  """What a user gave is wrong: the message names the file, row or field and what was expected."""


class TrainingError(RuntimeError):
  """Training cannot go on; the workdir's last checkpoint stands."""


class ArgumentParser(argparse.ArgumentParser):
  """argparse, its errors raised as InputError."""

  def error(self, message: str) -> NoReturn:
    raise InputError(f"{self.prog}: {message}")


def check_positive(options: argparse.Namespace, *names: str) -> None:
  """Raises InputError where one of these whole numbers of a command line is below 1."""
  for name in names:
    if getattr(options, name) < 1:
      raise InputError(f"--{name}: expected at least 1, got {getattr(options, name)}")


def run_cli(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> NoReturn:
  """Runs an entry point's `main(args)` and exits: 0 when it returns, 2 with one line on InputError.

  A file that cannot be read or written (an OSError that names it) exits the same way, a TrainingError with status 1.
  """
  try:
    main(sys.argv[1:] if argv is None else argv)
  except InputError as error:
    _end(str(error), 2)
  except TrainingError as error:
    _end(str(error), 1)
  except OSError as error:
    if error.filename is None:
      raise
    _end(f"{error.filename}: {error.strerror}", 2)
  sys.exit(0)


def _end(message: str, status: int) -> NoReturn:
  print(f"error: {' '.join(message.split())}", file=sys.stderr)
  sys.exit(status)
