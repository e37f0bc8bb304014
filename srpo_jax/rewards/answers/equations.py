"""Brings equations and inequalities to the form `difference = 0`."""

from collections import Counter
from fractions import Fraction

from srpo_jax.rewards.answers.arithmetic import evaluate
from srpo_jax.rewards.answers.expression import Expression, Node
from srpo_jax.rewards.answers.sample import points
from srpo_jax.rewards.answers.value import Equation, Inequality, Quantity

_ZERO = Node("number")
MAX_DENOMINATOR = 10_000  # of the ratio of two proportional equations


def difference(value: Equation | Inequality) -> Expression | None:
  """Returns `left - right`, or None if a side is no scalar. A side that is zero adds no operation."""
  if not isinstance(value.left, Quantity) or not isinstance(value.right, Quantity):
    return None
  left, right = value.left.expression, value.right.expression
  if right.tree == _ZERO:
    return left
  if left.tree == _ZERO:
    return Expression(Node("neg", (right.tree,)), right.operations)
  tree = Node("add", (left.tree, Node("neg", (right.tree,))))
  return Expression(tree, left.operations + right.operations + Counter({"sum": 1}))


def ratio(gold: Node, answer: Node) -> Fraction | None:
  """Returns the simple fraction `gold / answer` at a point, or None if it is zero or cannot be computed."""
  for point in points(Node("add", (gold, answer))):
    try:
      quotient = evaluate(gold, point) / evaluate(answer, point)
      return Fraction(quotient.real).limit_denominator(MAX_DENOMINATOR) or None
    except (ArithmeticError, ValueError):
      continue
  return None
