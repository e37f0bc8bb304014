"""Evaluates expressions, in double precision or with any number of digits."""

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from srpo_jax.rewards.answers.expression import Node

ENDLESS = 10  # terms of a series without an end that are compared
MAX_GAMMA = 10**6  # argument of a factorial
MAX_SERIES = 40  # terms of a finite series


class Doubles:
  """Arithmetic in double precision.

  Args:
    real: refuse even roots and logarithms of negative numbers, which have no real value. False: compute them as complex
      numbers.
  """

  def __init__(self, real: bool = False):
    self.real = real

  e: Any = complex(math.e)
  pi: Any = complex(math.pi)
  i: Any = 1j

  def number(self, value: Fraction) -> Any:
    return complex(float(value))

  def factorial(self, value: Any) -> Any:
    if abs(value.imag) > 1e-12:
      raise ValueError("a factorial of a complex number")
    return complex(math.gamma(value.real + 1))

  def floor(self, value: Any) -> Any:
    return complex(math.floor(value.real))

  def function(self, name: str) -> Callable[[Any], Any]:
    return _DOUBLES[name]


class Precise(Doubles):
  """Complex arithmetic with a given number of decimal digits. Needs mpmath, which takes a while to import."""

  def __init__(self, digits: int, real: bool = False):
    import mpmath

    super().__init__(real)
    self._mp = mpmath.mp.clone()
    self._mp.dps = digits
    self.e, self.pi, self.i = self._mp.mpc(self._mp.e), self._mp.mpc(self._mp.pi), self._mp.mpc(0, 1)

  def ten_to(self, exponent: int) -> Any:
    return self._mp.mpf(10) ** exponent

  def number(self, value: Fraction) -> Any:
    return self._mp.mpc(self._mp.mpf(value.numerator) / value.denominator)

  def factorial(self, value: Any) -> Any:
    if abs(value) > MAX_GAMMA:
      raise OverflowError("a factorial too large to compute")
    return self._mp.factorial(value)

  def floor(self, value: Any) -> Any:
    return self._mp.mpc(self._mp.floor(value.real))

  def function(self, name: str) -> Callable[[Any], Any]:
    names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "lg": "log10", "log": "ln"}
    found: Callable[[Any], Any] = getattr(self._mp, names.get(name, name))
    return found


_DOUBLES: dict[str, Callable[[Any], Any]] = {
  "sin": cmath.sin,
  "cos": cmath.cos,
  "tan": cmath.tan,
  "cot": lambda x: 1 / cmath.tan(x),
  "sec": lambda x: 1 / cmath.cos(x),
  "csc": lambda x: 1 / cmath.sin(x),
  "arcsin": cmath.asin,
  "arccos": cmath.acos,
  "arctan": cmath.atan,
  "sinh": cmath.sinh,
  "cosh": cmath.cosh,
  "tanh": cmath.tanh,
  "ln": cmath.log,
  "log": cmath.log,
  "lg": cmath.log10,
  "exp": cmath.exp,
}
DOUBLES = Doubles()
REAL_DOUBLES = Doubles(real=True)


def evaluate(node: Node, point: Mapping[str, Fraction], numbers: Doubles = DOUBLES) -> Any:
  """Evaluates a tree, with its variables at `point`. Returns a complex number.

  Raises:
    ArithmeticError: a division by zero or an overflow.
    ValueError: a function is not defined at its argument.
  """
  kind = node.kind
  if kind == "number":
    return numbers.number(node.value)
  if kind == "symbol":
    known = {"e": numbers.e, "i": numbers.i, "\\pi": numbers.pi}.get(node.name)
    return numbers.number(point[node.name]) if known is None else known
  if kind in ("series", "product"):
    return _series(node, point, numbers)
  parts = [evaluate(part, point, numbers) for part in node.parts]
  if kind == "add":
    return sum(parts[1:], parts[0])
  if kind == "neg":
    return -parts[0]
  if kind == "mul":
    return math.prod(parts[1:], start=parts[0])
  if kind == "div":
    return parts[0] / parts[1]
  if kind == "pow":
    exponent = _exponent(parts[1])
    if numbers.real and not isinstance(exponent, int) and _is_negative(parts[0]):
      raise ValueError("a power of a negative number")
    return parts[0] ** exponent
  if kind == "root":
    return _root(parts[0], parts[1], numbers)
  if kind == "abs":
    return numbers.number(Fraction(1)) * abs(parts[0])
  if kind == "factorial":
    return numbers.factorial(parts[0])
  if kind == "binomial":
    top, bottom = parts
    return numbers.factorial(top) / (numbers.factorial(bottom) * numbers.factorial(top - bottom))
  return _called(node.name, parts, numbers)


def _series(node: Node, point: Mapping[str, Fraction], numbers: Doubles) -> Any:
  """Returns the sum or product of the terms. A series without an end stops after some terms, on both sides alike."""
  body, lower, upper = node.parts
  first = _whole(evaluate(lower, point, numbers))
  last = first + ENDLESS if upper.name == "\\infty" else _whole(evaluate(upper, point, numbers)) + 1
  if last - first > MAX_SERIES:
    raise ValueError("a series with too many terms")
  total = numbers.number(Fraction(0 if node.kind == "series" else 1))
  for index in range(first, last):
    term = evaluate(body, {**point, node.name: Fraction(index)}, numbers)
    total = total + term if node.kind == "series" else total * term
  return total


def _whole(value: Any) -> int:
  if value.imag != 0 or value.real != int(value.real):
    raise ValueError("a bound of a series that is no integer")
  return int(value.real)


def _exponent(value: Any) -> Any:
  """Returns an integer exponent as an integer, so that a power of a real number stays real."""
  real = value.real
  return int(real) if value.imag == 0 and abs(real) < 10_000 and real == int(real) else value


def _root(base: Any, degree: Any, numbers: Doubles) -> Any:
  if base.imag == 0 > base.real and degree.imag == 0 and degree.real % 2 == 1:
    return -((-base) ** (1 / degree))  # the real root, as taught at school
  if numbers.real and _is_negative(base):
    raise ValueError("an even root of a negative number")
  return base ** (1 / degree)


def _is_negative(value: Any) -> bool:
  return bool(value.imag == 0 and value.real < 0)


def _called(name: str, parts: list[Any], numbers: Doubles) -> Any:
  if name == "floor":
    return numbers.floor(parts[0])
  if name == "ceil":
    return -numbers.floor(-parts[0])
  if numbers.real and name in ("ln", "log", "lg") and _is_negative(parts[0]):
    raise ValueError("a logarithm of a negative number")
  value = numbers.function(name)(parts[0])
  return value / numbers.function("ln")(parts[1]) if len(parts) == 2 else value
