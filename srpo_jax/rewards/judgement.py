"""Evaluates the trainer's part of an assert: an expression with holes that the candidate's values fill.

    assert set(f([3, 1])) == {1, 3}      ->      set(HOLE 0) == {1, 3}, where HOLE 0 is the value of f([3, 1])

Only the operations below exist. No value can make one slow, because operations whose result would grow large are
refused.
"""

import ast
import collections
import functools
import math
import operator
from array import array
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from srpo_jax.rewards.match import equal
from srpo_jax.sandbox import plain
from srpo_jax.sandbox.plain import spread

MAX_BITS = 4096  # bits of an integer in arithmetic on a candidate's values
MAX_POWER_BITS = 1 << 16  # bits of an integer power
MAX_DIGITS = 1000  # digits before or after the point that a number may be rounded to
MAX_REPEATED = 1 << 20  # items of a range, or of a text or list times a number
MAX_SUM_BITS = 1 << 16  # bits of all denominators in a sum


class Refused(Exception):
  """The expression uses something that cannot be judged. The message names it."""


class Hole(ast.expr):
  """Placeholder for the value of call number `index`."""

  _fields = ()

  def __init__(self, index: int):
    super().__init__()
    self.index = index


def _counter(values: Any) -> Any:
  return collections.Counter(values if isinstance(values, dict) else spread(list(values)))


def _pairs(values: Any) -> list[Any]:
  pairs = [tuple(pair) for pair in values]
  spread([key for key, _ in pairs])
  return pairs


def _round(value: Any, ndigits: Any = None) -> Any:
  if ndigits is not None and abs(ndigits) > MAX_DIGITS:
    raise Refused("many digits")
  return round(value, ndigits)


def _sum(values: Any, start: Any = 0) -> Any:
  items = _numbers([start, *values])
  if sum(item.denominator.bit_length() for item in items if isinstance(item, Fraction)) > MAX_SUM_BITS:
    raise Refused("a large denominator")
  return sum(items[1:], items[0])


def _is(left: Any, right: Any) -> bool:
  return left is right if left is None or isinstance(left, bool) else False


def _contains(item: Any, container: Any, same: Callable[[Any, Any], bool]) -> bool:
  if isinstance(container, (list, tuple, collections.deque, array)):
    return any(same(item, other) for other in container)
  return item in container


Same = Callable[[Any, Any], bool]  # (found, expected) -> True if they are the same

_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
  ast.Lt: operator.lt,
  ast.LtE: operator.le,
  ast.Gt: operator.gt,
  ast.GtE: operator.ge,
  ast.Is: _is,
  ast.IsNot: lambda left, right: not _is(left, right),
}
_ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.FloorDiv: operator.floordiv,
  ast.Mod: operator.mod,
  ast.Pow: operator.pow,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {
  ast.USub: operator.neg,
  ast.UAdd: operator.pos,
  ast.Not: operator.not_,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
  "set": lambda values=(): set(spread(list(values))),
  "frozenset": lambda values=(): frozenset(spread(list(values))),
  "list": list,
  "tuple": tuple,
  "dict": lambda values=(): dict(values) if isinstance(values, dict) else dict(_pairs(values)),
  "sorted": sorted,
  "len": len,
  "sum": _sum,
  "abs": abs,
  "round": _round,
  "min": min,
  "max": max,
  "str": str,
  "int": int,
  "float": float,
  "bool": bool,
  "all": all,
  "any": any,
  "zip": zip,
  "reversed": lambda values: list(reversed(values)),
  "Counter": lambda values=(): _counter(values),
  "collections.Counter": lambda values=(): _counter(values),
  "math.isclose": math.isclose,
  "math.fabs": math.fabs,
  "math.sqrt": math.sqrt,
  "isclose": math.isclose,
}


def _range(*bounds: int) -> range:
  found = range(*bounds)
  if len(found) > MAX_REPEATED:
    raise Refused("a long range")
  return found


def _built(kind: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function that builds a value in the form in which a candidate's value of this kind arrives."""
  return lambda *parts: plain.loads(plain.dumps(kind(*parts)))


def _fraction(*parts: Any) -> Fraction:
  if any(isinstance(part, str) and "e" in part.lower() for part in parts):
    raise Refused("an exponent")
  return Fraction(*parts)


def _bytearray(data: bytes = b"") -> bytearray:
  if not isinstance(data, (bytes, list)):
    raise Refused("expected bytes or a list")
  return bytearray(data)


# Only on literals, because a candidate's value could make a range or a number endless.
_CONSTANT_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
  "range": _range,
  "complex": complex,
  "bytearray": _built(_bytearray),
  "Fraction": _built(_fraction),
  "fractions.Fraction": _built(_fraction),
  "Decimal": _built(Decimal),
  "decimal.Decimal": _built(Decimal),
  "array": _built(array),
  "array.array": _built(array),
  "deque": _built(collections.deque),
  "collections.deque": _built(collections.deque),
  "OrderedDict": _built(collections.OrderedDict),
  "collections.OrderedDict": _built(collections.OrderedDict),
}
_ATTRIBUTES = {"math.pi": math.pi, "math.e": math.e, "math.inf": math.inf}
MODULES = ("math", "collections")
NAMES = frozenset({*FUNCTIONS, *_CONSTANT_FUNCTIONS})  # never functions of the program, unless the row lists them
_ROOTS = {name.partition(".")[0] for name in (*NAMES, *_ATTRIBUTES)}


def dotted(node: ast.expr) -> str:
  """Returns a name `a` or `a.b` as text, or an empty text for any other expression."""
  if isinstance(node, ast.Name):
    return node.id
  if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
    return f"{node.value.id}.{node.attr}"
  return ""


def _has_hole(node: ast.AST) -> bool:
  return any(isinstance(inner, Hole) for inner in ast.walk(node))


def check(node: ast.expr) -> None:
  """Raises Refused unless `evaluate` supports every operation in the expression."""
  for child in ast.walk(node):
    if isinstance(child, ast.Call):
      name = dotted(child.func)
      if name not in NAMES:
        raise Refused(f"calls {name or ast.unparse(child.func)[:40]}")
      if name in _CONSTANT_FUNCTIONS and _has_hole(child):
        raise Refused(f"calls {name} on a value that the program returned")
      if any(keyword.arg not in _KEYWORDS.get(name, ()) for keyword in child.keywords):
        raise Refused(f"calls {name} with keywords")
    elif isinstance(child, ast.Attribute):
      if dotted(child) not in _ATTRIBUTES and dotted(child) not in NAMES:
        raise Refused(f"reads the attribute {child.attr}")
    elif isinstance(child, ast.Name):
      if child.id not in _ROOTS:
        raise Refused(f"uses the name {child.id}")
    elif isinstance(child, ast.operator):
      if type(child) not in _ARITHMETIC:
        raise Refused(f"uses the operator {type(child).__name__}")
    elif not isinstance(child, _KNOWN) or (isinstance(child, ast.Dict) and None in child.keys):
      raise Refused(f"uses {type(child).__name__}")
  _check_constants(node)


def _check_constants(node: ast.AST) -> None:
  """Raises Refused if a part without holes cannot be evaluated, because such a test could never pass."""
  if isinstance(node, (Hole, ast.Constant)):
    return
  if not isinstance(node, ast.expr) or _has_hole(node):
    for child in ast.iter_child_nodes(node):
      if not isinstance(node, ast.Call) or child is not node.func:
        _check_constants(child)
    return
  try:
    evaluate(node, {})
  except Exception as error:
    raise Refused(f"holds {ast.unparse(node)[:40]}, which has no value: {error or type(error).__name__}") from None


_KEYWORDS = {
  "math.isclose": ("rel_tol", "abs_tol"),
  "isclose": ("rel_tol", "abs_tol"),
  "round": ("ndigits",),
  "sorted": ("reverse",),
  "sum": ("start",),
}
_KNOWN = (
  *(Hole, ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare),
  *(ast.Subscript, ast.Slice, ast.keyword, ast.Load, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or, ast.cmpop),
)


def evaluate(node: ast.expr | ast.Slice | None, values: Mapping[int, Any], same: Same = equal) -> Any:
  """Returns the value of a checked expression.

  Args:
    node: the expression.
    values: the values of its holes.
    same: decides `==` between a program's value and an expected one.

  Raises:
    Refused: a number or a result is too large.
    Exception: any error that an operation of the expression raises.
  """
  value_of = functools.partial(evaluate, values=values, same=same)
  match node:
    case None:
      return None
    case Hole():
      return values[node.index]
    case ast.Constant():
      return node.value
    case ast.Tuple():
      return tuple(value_of(item) for item in node.elts)
    case ast.List():
      return [value_of(item) for item in node.elts]
    case ast.Set():
      return {value_of(item) for item in node.elts}
    case ast.Dict():
      return {value_of(k): value_of(v) for k, v in zip(node.keys, node.values, strict=True)}
    case ast.UnaryOp():
      return _UNARY[type(node.op)](value_of(node.operand))
    case ast.BinOp():
      return _arithmetic(type(node.op), value_of(node.left), value_of(node.right))
    case ast.BoolOp():
      return _either(node, value_of)
    case ast.Compare():
      return _compare(node, value_of, same)
    case ast.Subscript():
      return value_of(node.value)[value_of(node.slice)]
    case ast.Slice():
      return slice(value_of(node.lower), value_of(node.upper), value_of(node.step))
    case ast.Attribute():
      return _ATTRIBUTES[dotted(node)]
    case ast.Call():
      name = dotted(node.func)
      keywords = {keyword.arg: value_of(keyword.value) for keyword in node.keywords if keyword.arg}
      function = FUNCTIONS.get(name) or _CONSTANT_FUNCTIONS[name]
      return function(*(value_of(item) for item in node.args), **keywords)
  raise Refused(f"uses {type(node).__name__}")


def _either(node: ast.BoolOp, value_of: Callable[[ast.expr], Any]) -> Any:
  """Returns the value of the first operand that decides, or of the last one."""
  value = None
  for item in node.values:
    value = value_of(item)
    if bool(value) is isinstance(node.op, ast.Or):
      break
  return value


def _compare(node: ast.Compare, value_of: Callable[[ast.expr], Any], same: Same) -> bool:
  left, left_node = value_of(node.left), node.left
  for kind, right_node in zip(node.ops, node.comparators, strict=True):
    right = value_of(right_node)
    if not _holds(kind, left, right, same if _has_hole(left_node) else _swapped(same)):
      return False
    left, left_node = right, right_node
  return True


def _swapped(same: Same) -> Same:
  return lambda left, right: same(right, left)


def _holds(kind: ast.cmpop, left: Any, right: Any, same: Same) -> bool:
  match kind:
    case ast.Eq():
      return same(left, right)
    case ast.NotEq():
      return not same(left, right)
    case ast.In():
      return _contains(left, right, same)
    case ast.NotIn():
      return not _contains(left, right, same)
  return _COMPARE[type(kind)](left, right)


def _arithmetic(kind: type, left: Any, right: Any) -> Any:
  if kind is ast.Add and type(left) is type(right) and isinstance(left, (str, list, tuple)):
    return left + right
  if kind is ast.Sub and isinstance(left, (set, frozenset)) and isinstance(right, (set, frozenset)):
    return left - right
  if kind is ast.Mult and isinstance(left, (str, list, tuple)) and type(right) is int:
    if len(left) * right > MAX_REPEATED:
      raise Refused("a long repetition")
    return left * right
  _numbers((left, right))
  exact = isinstance(left, (int, Fraction)) and isinstance(right, (int, Fraction))
  if kind is ast.Pow and exact and _bits(left) * abs(right) > MAX_POWER_BITS:
    raise Refused("a large power")
  return _ARITHMETIC[kind](left, right)


def _numbers(values: Any) -> Any:
  for value in values:
    if isinstance(value, (int, Fraction)):
      if _bits(value) > MAX_BITS:
        raise Refused("a large integer")
    elif not isinstance(value, (float, complex)):
      raise Refused(f"arithmetic on {type(value).__name__}")
  return values


def _bits(value: int | Fraction) -> int:
  return max(value.numerator.bit_length(), value.denominator.bit_length())
