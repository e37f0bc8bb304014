r"""Decides at sampled points whether two expressions are equal.

Expressions with variables are equal if they agree at every sampled real point, of both signs, where both are real.
Where exactly one of them is real off the positive numbers, positive points decide: `\sqrt{ab}` equals
`\sqrt{a}\sqrt{b}`. If one of them has an absolute value, signs matter, so that this counts as a difference: `\ln x` is
not `\ln|x|`. Expressions that are never real are compared as complex numbers.
"""

import dataclasses
from fractions import Fraction
from typing import Any

from srpo_jax.rewards.answers.arithmetic import DOUBLES, REAL_DOUBLES, Doubles, evaluate
from srpo_jax.rewards.answers.expression import Node, symbols

_SIZES = (0.31, 1.37, 0.73, 2.41, 5.21, 0.92, 11.3, 3.89, 0.11, 7.73)
_POSITIVE = 8  # points whose coordinates are all positive
_POINTS = 24
_UNDEFINED = object()
_OVERFLOW = object()


def points(node: Node) -> list[dict[str, Fraction]]:
  """Returns the points at which to evaluate a tree. They are the same in every process."""
  names = sorted(symbols(node))
  return [{name: _coordinate(place, index) for index, name in enumerate(names)} for place in range(_POINTS)]


def _coordinate(place: int, index: int) -> Fraction:
  size = Fraction(str(_SIZES[(7 * place + 3 * index + place * index) % len(_SIZES)]))
  size *= 1 + Fraction(13 * place + 7 * index, 1000)
  negative = place >= _POSITIVE and (place + index * (1 + place % 3)) % 2 == 0
  return -size if negative or (place == _POSITIVE + 1) else size


@dataclasses.dataclass(frozen=True)
class Precision:
  """Arithmetic, and how close two of its values must be.

  Attributes:
    real: arithmetic in which even roots and logarithms of negative numbers have no value.
    complex: arithmetic in which they have one.
    tolerance: the largest relative difference of equal numbers.
    loose: the largest relative difference of equal values of expressions with variables, where terms may cancel.
    tiny: the largest size of a value that may be zero.
  """

  real: Doubles
  complex: Doubles
  tolerance: Any
  loose: Any
  tiny: Any

  def close(self, known: Any, stated: Any, tolerance: Any) -> bool:
    scale = max(abs(known), abs(stated))
    return bool(abs(known - stated) <= tolerance * scale or scale <= self.tiny)


DOUBLE_PRECISION = Precision(REAL_DOUBLES, DOUBLES, 1e-9, 1e-4, 0.0)


def agree(gold: Node, answer: Node, precision: Precision = DOUBLE_PRECISION) -> bool | None:
  """Returns True if two trees agree wherever they must. None: all values are too large to compare."""
  if not symbols(gold) and not symbols(answer):
    return _agree_as_complex(gold, answer, [{}], precision)
  sampled = points(Node("add", (gold, answer)))
  if _holds(gold, "i") or _holds(answer, "i"):
    return _agree_as_complex(gold, answer, sampled, precision)
  signs_matter = _holds(gold, "abs") or _holds(answer, "abs")
  compared = 0
  for place, point in enumerate(sampled):
    known, stated = _value(gold, point, precision.real), _value(answer, point, precision.real)
    if known is _OVERFLOW or stated is _OVERFLOW:
      continue
    if _is_real(known) and _is_real(stated):
      compared += 1
      if not precision.close(known, stated, precision.loose):
        return False
    elif _is_real(known) != _is_real(stated) and (place < _POSITIVE or signs_matter):
      return False
  return True if compared else _agree_as_complex(gold, answer, sampled, precision)


def _agree_as_complex(
  gold: Node, answer: Node, sampled: list[dict[str, Fraction]], precision: Precision
) -> bool | None:
  """Returns True if two trees agree at every point where their values can be compared. None: there is no such point."""
  tolerance = precision.loose if sampled[0] else precision.tolerance
  compared = None
  for point in sampled:
    known, stated = _value(gold, point, precision.complex), _value(answer, point, precision.complex)
    if known is _OVERFLOW or stated is _OVERFLOW:
      continue
    if known is _UNDEFINED or stated is _UNDEFINED or not precision.close(known, stated, tolerance):
      return False
    compared = True
  return compared


def _value(node: Node, point: dict[str, Fraction], numbers: Doubles) -> Any:
  try:
    value = evaluate(node, point, numbers)
    return value if abs(value) >= 0 else _UNDEFINED  # not a number is neither
  except OverflowError:
    return _OVERFLOW
  except (ArithmeticError, ValueError, TypeError):
    return _UNDEFINED


def _is_real(value: Any) -> bool:
  return value is not _UNDEFINED and abs(value.imag) <= 1e-9 * max(1, abs(value))


def _holds(node: Node, what: str) -> bool:
  return node.kind == what or node.name == what or any(_holds(part, what) for part in node.parts)
