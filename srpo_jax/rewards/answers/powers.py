"""Bounds the powers in an answer, so that none takes long to compute."""

import math
from fractions import Fraction

from srpo_jax.rewards.answers.expression import Node, symbols
from srpo_jax.rewards.answers.latex import Unreadable

MAX_POWER_DIGITS = 6000.0  # decimal digits of a power of numbers
MAX_SYMBOLIC_EXPONENT = 1024.0  # exponent of a base that holds a variable
MAX_FACTORIAL_DIGITS = 7500  # decimal digits of 2500!


def check_power(base: Node, exponent: Node) -> None:
  """Raises Unreadable for powers that would take long to compute: towers, and results with too many digits."""
  if not symbols(exponent) and any(part.kind in ("pow", "factorial", "binomial") for part in _walk(exponent)):
    raise Unreadable("an exponent too large to compute")
  size = _magnitude(exponent)
  if size is None:
    return
  if symbols(base):
    if size > MAX_SYMBOLIC_EXPONENT:
      raise Unreadable("an exponent too large to compute")
    return
  if any(part.kind in ("pow", "factorial", "binomial") for part in _walk(base)):
    raise Unreadable("a power of a power")
  digits = _magnitude_digits(base)
  if size * digits > MAX_POWER_DIGITS:
    raise Unreadable("an exponent too large to compute")


def power_digits(node: Node) -> int:
  """Returns a bound on the decimal digits of the powers, factorials and numbers in a tree."""
  digits = 0.0
  for part in _walk(node):
    if part.kind == "pow":
      digits += (_magnitude(part.parts[1]) or 1.0) * _magnitude_digits(part.parts[0])
    elif part.kind in ("factorial", "binomial"):
      digits += MAX_FACTORIAL_DIGITS
    elif part.kind == "number":
      digits += len(str(part.value.numerator)) + len(str(part.value.denominator))
  return int(min(digits, 4 * MAX_POWER_DIGITS))


def _walk(node: Node) -> list[Node]:
  found = [node]
  for part in node.parts:
    found += _walk(part)
  return found


def _magnitude(exponent: Node) -> float | None:
  """Returns a bound on the size of an exponent, or None if the exponent holds a variable.

  The bound is the product of 1 + |n| over all numbers n in the exponent.
  """
  if symbols(exponent):
    return None
  size = 1.0
  for node in _walk(exponent):
    if node.kind == "number":
      size *= 1 + min(abs(_float(node.value)), 1e30)
  return size


def _magnitude_digits(base: Node) -> float:
  """Returns a bound on the decimal digits of the numerator and denominator of a base."""
  digits = 1.0
  for node in _walk(base):
    if node.kind == "number":
      digits += len(str(node.value.numerator)) + len(str(node.value.denominator)) - 2
  return digits


def _float(value: Fraction) -> float:
  try:
    return float(value)
  except OverflowError:
    return math.inf if value > 0 else -math.inf
