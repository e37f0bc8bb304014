"""Errors of the commands. Bad input ends a command with one clear line and exit status 2."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from srpo_jax.utils.text import MESSAGE_LENGTH, visible_line


class InputError(ValueError):
  """The user's input is wrong. The message names the file, row or field, and what was expected."""


class SharedError(InputError):
  """An InputError that every process raises."""


class TrainingError(RuntimeError):
  """Training cannot continue. The workdir's last checkpoint is still valid."""


def one_line(error: Exception) -> str:
  """Returns the type and message of an error, on one line of at most 300 characters."""
  return visible_line(f"{type(error).__name__}: {error}", 300)


class PreemptedError(BaseException):
  """The process was told to end and does so in an orderly way.

  Like KeyboardInterrupt, it is not an Exception, so that `except Exception` does not catch it.
  """

  def __init__(self, message: str, status: int = 0):
    super().__init__(message, status)
    self.status = status

  def saying(self, what: str) -> "PreemptedError":
    """Returns the same error with another end of its message, which says what has been saved."""
    return PreemptedError(f"{str(self).partition(':')[0]}: {what}", self.status)

  def __str__(self) -> str:
    return str(self.args[0])


def run_cli(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> NoReturn:
  """Runs an entry point's `main(args)` and exits with status 0, or after an error with the status from `report`."""
  try:
    main(sys.argv[1:] if argv is None else argv)
  except (Exception, PreemptedError) as error:
    status = report(error)
    if status is None:
      raise
    sys.exit(status)
  sys.exit(0)


def report(error: BaseException) -> int | None:
  """Prints an error on one line and returns the exit status: 2 for InputError, 1 for TrainingError.

  A file that cannot be read or written (an OSError with a file name) counts as an InputError. A PreemptedError has its
  own status. For any other error, nothing is printed and the result is None.
  """
  if isinstance(error, PreemptedError):
    print(visible_line(str(error), MESSAGE_LENGTH), file=sys.stderr)
    return error.status
  if isinstance(error, OSError) and error.filename is not None:
    message, status = f"{error.filename}: {error.strerror}", 2
  elif isinstance(error, (InputError, TrainingError)):
    message, status = str(error), 2 if isinstance(error, InputError) else 1
  else:
    return None
  print(f"error: {visible_line(message, MESSAGE_LENGTH)}", file=sys.stderr)
  return status
