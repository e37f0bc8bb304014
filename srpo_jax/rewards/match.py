"""Compares a candidate's values and output with those that a test expects. Runs in the trainer, only on plain data."""

import math
import re
from typing import Any

from srpo_jax.sandbox.plain import Stream

REL_TOL, ABS_TOL = 1e-6, 1e-9  # between two floats; integers are compared exactly

_DECIMAL = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def equal(left: Any, right: Any, *, loose: bool = False) -> bool:
  """Compares plain data like Python's `==`, with a tolerance for floats.

  Two floats may differ by REL_TOL or ABS_TOL. NaN equals nothing, and a `Stream` equals nothing.

  Args:
    loose: a tuple also equals a list with the same items. Expected values from JSON need this.
  """
  if isinstance(left, float) and isinstance(right, float):
    return left == right or math.isclose(left, right, rel_tol=REL_TOL, abs_tol=ABS_TOL)
  if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
    alike = loose or type(left) is type(right)
    return alike and len(left) == len(right) and all(equal(a, b, loose=loose) for a, b in zip(left, right, strict=True))
  if isinstance(left, dict) and isinstance(right, dict):
    return left.keys() == right.keys() and all(equal(value, right[key], loose=loose) for key, value in left.items())
  if isinstance(left, Stream) or isinstance(right, Stream):
    return False
  return bool(left == right)


def has_nan(value: Any) -> bool:
  """Returns True if plain data holds a NaN at any depth."""
  if isinstance(value, float):
    return math.isnan(value)
  if isinstance(value, complex):
    return math.isnan(value.real) or math.isnan(value.imag)
  if isinstance(value, dict):
    return any(has_nan(key) or has_nan(item) for key, item in value.items())
  if isinstance(value, (list, tuple, set, frozenset, Stream)):
    return any(map(has_nan, value))
  return False


def same_output(found: str, expected: str) -> bool:
  """Returns True if two outputs have the same lines of the same words. Blanks around and between words do not count.

  If the expected word is a decimal fraction, a number within REL_TOL or ABS_TOL of it also passes.
  """
  found_lines, expected_lines = _lines(found), _lines(expected)
  if found_lines == expected_lines:
    return True
  if len(found_lines) != len(expected_lines):
    return False
  return all(_same_line(f, e) for f, e in zip(found_lines, expected_lines, strict=True))


def _lines(text: str) -> list[str]:
  lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
  while lines and not lines[-1]:
    lines.pop()
  return lines


def _same_line(found: str, expected: str) -> bool:
  if found == expected:
    return True
  words, wanted = found.split(), expected.split()
  return len(words) == len(wanted) and all(_same_word(f, e) for f, e in zip(words, wanted, strict=True))


def _same_word(found: str, expected: str) -> bool:
  if found == expected:
    return True
  if not _DECIMAL.fullmatch(expected) or not (_DECIMAL.fullmatch(found) or _INTEGER.fullmatch(found)):
    return False
  return math.isclose(float(found), float(expected), rel_tol=REL_TOL, abs_tol=ABS_TOL)
