"""Recognizes and intersects intervals between numbers."""

from collections import Counter
from fractions import Fraction

from srpo_jax.rewards.answers.expression import Expression, Node
from srpo_jax.rewards.answers.value import Infinity, Ordered, Quantity, Union, Value


def is_range(value: Ordered) -> bool:
  """Returns True if the value is an interval between numbers or infinities."""
  return value.opener in "([" and all(isinstance(end, Infinity | Quantity) for end in value.items)


Range = tuple[tuple[Fraction | float, bool], tuple[Fraction | float, bool]]  # (end, open) on the left and the right


def intersection(values: tuple[Value, ...]) -> Value | None:
  """Returns the points that lie in every value, as an interval or a union. None if a value is no such set."""
  common: list[Range] = [((float("-inf"), True), (float("inf"), True))]
  for value in values:
    ranges = _ranges(value)
    if ranges is None or len(ranges) * len(common) > 64:
      return None
    pairs = [_overlap(one, other) for one in common for other in ranges]
    common = [pair for pair in pairs if pair is not None]
  found = tuple(_ordered(left, right) for left, right in common)
  return (found[0] if len(found) == 1 else Union(found)) if found else None


def _ranges(value: Value) -> list[Range] | None:
  if isinstance(value, Union):
    nested = [_ranges(item) for item in value.items]
    return None if None in nested else [one for ranges in nested if ranges for one in ranges]
  if not isinstance(value, Ordered) or len(value.items) != 2 or not is_range(value):
    return None
  left, right = (_number(end) for end in value.items)
  if left is None or right is None:
    return None
  return [((left, value.opener == "("), (right, value.closer == ")"))]


def _number(end: Value) -> Fraction | float | None:
  if isinstance(end, Infinity):
    return float("inf") * end.sign
  plain = isinstance(end, Quantity) and not end.unit and not end.percent
  return end.expression.literal if plain and isinstance(end, Quantity) else None


def _overlap(one: Range, other: Range) -> Range | None:
  left = max(one[0], other[0])  # of two equal ends, the open one
  right = min(one[1], other[1], key=lambda end: (end[0], not end[1]))
  closed = not left[1] and not right[1]
  return (left, right) if left[0] < right[0] or (left[0] == right[0] and closed) else None


def _ordered(left: tuple[Fraction | float, bool], right: tuple[Fraction | float, bool]) -> Ordered:
  return Ordered("(" if left[1] else "[", ")" if right[1] else "]", (_end(left[0]), _end(right[0])))


def _end(value: Fraction | float) -> Value:
  if isinstance(value, float):
    return Infinity(1 if value > 0 else -1)
  node = Node("number", value=abs(value))
  return Quantity(Expression(node if value >= 0 else Node("neg", (node,)), Counter()))
