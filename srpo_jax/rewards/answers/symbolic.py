"""Compares two expressions with Math-Verify, without computing their values."""

from collections.abc import Callable

from srpo_jax.rewards.answers.expression import Node


def same_by_math_verify(gold: Node, answer: Node) -> bool:
  """Returns True if Math-Verify finds two scalar expressions equal. May run for a long time.

  Returns False if they have a part that is not converted: a series, a product of terms, or a function that sympy lacks.
  """
  import math_verify  # takes half a second, and only workers need it

  real = not (_holds_i(gold) or _holds_i(answer))
  try:
    known, stated = _sympy(gold, real), _sympy(answer, real)
  except (KeyError, AttributeError):
    return False
  return bool(math_verify.verify(known, stated, timeout_seconds=None))


def _holds_i(node: Node) -> bool:
  return node.name == "i" or any(_holds_i(part) for part in node.parts)


def _sympy(node: Node, real: bool) -> object:
  """Converts a tree to a sympy expression with exact decimals, and with real variables if `real`."""
  import sympy

  kind = node.kind
  if kind == "number":
    return sympy.Rational(node.value.numerator, node.value.denominator)
  if kind == "symbol":
    constants = {"e": sympy.E, "i": sympy.I, "\\pi": sympy.pi}
    return constants.get(node.name) or sympy.Symbol(node.name, real=real or None)
  makers: dict[str, Callable[..., object]] = {
    "add": sympy.Add,
    "mul": sympy.Mul,
    "neg": lambda x: -x,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: sympy.Pow(x, y, evaluate=False),  # a tower of powers would not fit into memory
    "root": sympy.root,
    "abs": sympy.Abs,
    "factorial": sympy.factorial,
    "binomial": sympy.binomial,
    "call": lambda *parts: _call(node.name, parts),
  }
  return makers[kind](*(_sympy(part, real) for part in node.parts))


def _call(name: str, parts: tuple[object, ...]) -> object:
  import sympy

  names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log", "ceil": "ceiling"}
  if name == "lg":
    return sympy.log(parts[0], 10)
  return getattr(sympy, names.get(name, name))(*parts)
