"""Compares a candidate's values and output with those that a test expects. Runs in the trainer, only on plain data."""

import functools
import math
import re
from array import array
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from typing import Any

from srpo_jax.sandbox.plain import ITEMS, KEYS, Stream

# Between a float and an expected one that holds no integer. An absolute tolerance would accept 0 for each small number.
REL_TOL = 1e-9

_SEQUENCES = (list, tuple, deque, array)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def equal(found: Any, expected: Any, *, loose: bool = False) -> bool:
  """Compares plain data like Python's `==`, with a tolerance for floats.

  An expected float that holds no integer takes each float within REL_TOL. Other numbers are compared exactly. NaN
  equals nothing, and a `Stream` equals nothing.

  Args:
    loose: a tuple also equals a list with the same items. Expected values from JSON need this.
  """
  if isinstance(found, float) and isinstance(expected, float):
    return found == expected if expected.is_integer() else math.isclose(found, expected, rel_tol=REL_TOL)
  if isinstance(found, _SEQUENCES) and isinstance(expected, _SEQUENCES):
    alike = type(found) is type(expected) or (loose and {type(found), type(expected)} == {list, tuple})
    return alike and len(found) == len(expected) and all(map(functools.partial(equal, loose=loose), found, expected))
  if isinstance(found, dict) and isinstance(expected, dict):
    return _equal_dicts(found, expected, loose)
  if isinstance(found, Stream) or isinstance(expected, Stream):
    return False
  return bool(found == expected)


def _equal_dicts(found: dict[Any, Any], expected: dict[Any, Any], loose: bool) -> bool:
  if isinstance(found, OrderedDict) and isinstance(expected, OrderedDict) and list(found) != list(expected):
    return False
  if isinstance(found, Counter) and isinstance(expected, Counter):  # an absent key counts 0
    found, expected = ({key: count for key, count in one.items() if count != 0} for one in (found, expected))
  return found.keys() == expected.keys() and all(equal(v, expected[key], loose=loose) for key, v in found.items())


def has_nan(value: Any) -> bool:
  """Returns True if plain data holds a NaN at any depth."""
  if isinstance(value, float):
    return math.isnan(value)
  if isinstance(value, complex):
    return math.isnan(value.real) or math.isnan(value.imag)
  if isinstance(value, dict):
    return any(has_nan(key) or has_nan(item) for key, item in value.items())
  if isinstance(value, (list, tuple, set, frozenset, deque, array, KEYS, ITEMS, Stream)):
    return any(map(has_nan, value))
  return False


def same_output(found: str, expected: str) -> bool:
  """Returns True if two outputs have the same lines of the same words. Blanks around and between words do not count.

  If the expected word is a decimal fraction, a number within REL_TOL of it also passes. It must be the same number if
  the expected one is an integer, as in 2.0.
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
  exact = Decimal(expected)
  if exact == exact.to_integral_value():
    return Decimal(found) == exact
  return math.isclose(float(found), float(expected), rel_tol=REL_TOL)
