"""Bad input ends with one clear line and exit status 2."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn


class InputError(ValueError):
  """What a user gave is wrong: the message names the file, row or field and what was expected."""


class ArgumentParser(argparse.ArgumentParser):
  """argparse, its errors raised as InputError."""

  def error(self, message: str) -> NoReturn:
    raise InputError(f"{self.prog}: {message}")


def run_cli(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> NoReturn:
  """Runs an entry point's `main(args)` and exits: 0 when it returns, 2 with one line on InputError."""
  try:
    main(sys.argv[1:] if argv is None else argv)
  except InputError as error:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)
  sys.exit(0)
