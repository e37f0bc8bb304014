"""Types of command-line arguments: whole numbers, numbers in a range, dates, local and remote paths."""

import argparse
import datetime
import math
from collections.abc import Callable
from pathlib import Path

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, is_local


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
  """Returns the type of a whole number of at least `least` and, if given, at most `most`."""

  def convert(text: str) -> int:
    good = text.isascii() and text.isdigit() and int(text) >= least and (most is None or int(text) <= most)
    if not good:
      wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
      raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {text!r}")
    return int(text)

  return convert


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
  """Returns the type of a finite number from `low` to `high`, both included."""

  def convert(text: str) -> float:
    value = _float(text)
    if not low <= value <= high or math.isinf(value):
      most = "" if math.isinf(high) else f" to {high:g}"
      raise argparse.ArgumentTypeError(f"expected a number from {low:g}{most or ' on'}, got {text!r}")
    return value

  return convert


def positive(text: str) -> float:
  """Returns a number above 0 and below a billion. Raises ArgumentTypeError for any other text."""
  value = _float(text)
  if not 0 < value < 1e9:
    raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
  return value


def share(text: str) -> float:
  """Returns a number above 0 and at most 1. Raises ArgumentTypeError for any other text."""
  value = number(0, 1)(text)
  if value == 0:
    raise argparse.ArgumentTypeError("expected a number above 0 (greedy is --temperature 0)")
  return value


def day(text: str) -> datetime.date:
  """Returns a date written YYYY-MM-DD. Raises ArgumentTypeError for any other text."""
  try:
    return datetime.datetime.strptime(text, "%Y-%m-%d").date()
  except ValueError:
    raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from None


def path(text: str) -> Path:
  """Returns a path, local or gs://. Raises ArgumentTypeError for another scheme, or for gs:// without a bucket."""
  try:
    return as_path(text)
  except InputError as error:
    raise argparse.ArgumentTypeError(str(error)) from None


def local_path(text: str) -> Path:
  """Returns a path on this machine. Raises ArgumentTypeError for a path in an object store."""
  if not is_local(path(text)):
    todo = "then: gcloud storage cp -r FOLDER gs://..."
    raise argparse.ArgumentTypeError(f"{text}: expected a local folder or file ({todo})")
  return Path(text)


def _float(text: str) -> float:
  try:
    return float(text)
  except ValueError:
    return math.nan
