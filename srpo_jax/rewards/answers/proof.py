"""Compares two scalar expressions with Math-Verify. This is slow and may run without bound, so only workers do it."""

from collections.abc import Callable

from srpo_jax.rewards.answers.expression import Node, symbols

_DIGITS = 50  # precision, in decimal digits, at which two constants are compared


def prove(gold: Node, answer: Node) -> bool:
  """Returns True if Math-Verify finds two scalar expressions equal. May run for a long time.

  Constants must also agree at a precision of 50 digits, because Math-Verify compares to 15 digits and drops tiny terms.
  """
  import math_verify  # takes half a second, and only workers need it

  complex_valued = _holds_i(gold) or _holds_i(answer)
  known, stated = _sympy(gold, complex_valued), _sympy(answer, complex_valued)
  if not symbols(gold) and not _digits_agree(known, stated):
    return False
  return bool(math_verify.verify(known, stated, timeout_seconds=None))


def _digits_agree(known: object, stated: object) -> bool:
  import sympy

  difference = abs(sympy.N(known - stated, _DIGITS))  # type: ignore[operator]
  scale = max(abs(sympy.N(known, _DIGITS)), abs(sympy.N(stated, _DIGITS)))
  return bool(difference <= scale * sympy.Float(10) ** (5 - _DIGITS))


def _holds_i(node: Node) -> bool:
  return node.name == "i" or any(_holds_i(part) for part in node.parts)


def _sympy(node: Node, complex_valued: bool) -> object:
  """Converts a tree to a sympy expression.

  Decimals are exact. Variables are real unless `complex_valued`, that is, the imaginary unit occurs.
  """
  import sympy

  kind = node.kind
  if kind == "number":
    return sympy.Rational(node.value.numerator, node.value.denominator)
  if kind == "symbol":
    constants = {"e": sympy.E, "i": sympy.I, "\\pi": sympy.pi}
    return constants.get(node.name) or sympy.Symbol(node.name, real=None if complex_valued else True)
  parts = [_sympy(part, complex_valued) for part in node.parts]
  if kind == "call":
    return _call(node.name, parts)
  if kind == "root":
    odd = getattr(parts[1], "is_odd", False) and getattr(parts[0], "is_negative", False)
    return sympy.real_root(*parts) if odd else sympy.root(*parts)
  makers: dict[str, Callable[..., object]] = {
    "add": sympy.Add,
    "mul": sympy.Mul,
    "neg": lambda x: -x,
    "div": lambda x, y: x / y,
    "pow": sympy.Pow,
    "abs": sympy.Abs,
    "factorial": sympy.factorial,
    "binomial": sympy.binomial,
  }
  return makers[kind](*parts)


def _call(name: str, parts: list[object]) -> object:
  import sympy

  names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log"}
  if name == "lg":
    return sympy.log(parts[0], 10)
  return getattr(sympy, names.get(name, name))(*parts)
