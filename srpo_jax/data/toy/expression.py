"""Expressions of the arithmetic task, such as `37+45`, `23*4` or `(3+4)*8`.

An expression has one operation, or two with the inner one done first.
"""

import ast
import hashlib
import operator
from collections.abc import Callable
from typing import Literal

from srpo_jax.utils.errors import InputError

Split = Literal["train", "heldout"]
HELDOUT_PERCENT = 30
_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
APPLY: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def evaluate(expression: str) -> int:
  """Returns the value of an expression."""
  return _evaluate(parse(expression))


def canonical(expression: str) -> str:
  """Returns a key that is the same for expressions that differ only in the order of terms or factors.

  >>> canonical("45+37-26") == canonical("37-26+45"), canonical("8*(4+3)"), canonical("45-37") == canonical("37-45")
  (True, '(+3+4)*8', False)
  """
  return _canonical(parse(expression))


def split_of(expression: str) -> Split:
  """Returns the split of an expression. It depends only on a hash of the canonical key, never on a seed or size."""
  digest = hashlib.sha256(canonical(expression).encode()).digest()
  return "heldout" if int.from_bytes(digest[:8], "big") % 100 < HELDOUT_PERCENT else "train"


def parse(expression: str) -> ast.expr:
  try:
    node = ast.parse(expression, mode="eval").body
  except SyntaxError as error:
    raise InputError(f"expression {expression!r}: expected whole numbers, + - * and brackets") from error
  for part in ast.walk(node):
    if isinstance(part, ast.BinOp) and type(part.op) in _OPERATORS:
      continue
    if isinstance(part, ast.Constant) and type(part.value) is int:
      continue
    if not isinstance(part, ast.operator):
      raise InputError(f"expression {expression!r}: expected whole numbers, + - * and brackets")
  return node


def split_node(node: ast.expr) -> tuple[ast.expr, str, ast.expr] | None:
  return (node.left, _OPERATORS[type(node.op)], node.right) if isinstance(node, ast.BinOp) else None


def number_of(node: ast.expr) -> int:
  assert isinstance(node, ast.Constant) and isinstance(node.value, int)
  return node.value


def _evaluate(node: ast.expr) -> int:
  parts = split_node(node)
  return number_of(node) if parts is None else APPLY[parts[1]](_evaluate(parts[0]), _evaluate(parts[2]))


def _canonical(node: ast.expr) -> str:
  parts = split_node(node)
  if parts is None:
    return str(number_of(node))
  if parts[1] == "*":
    return "*".join(sorted(_factors(node)))
  return "(" + "".join(sorted(_terms(node, "+"))) + ")"


def _terms(node: ast.expr, sign: str) -> list[str]:
  parts = split_node(node)
  if parts is None or parts[1] == "*":
    return [sign + _canonical(node)]
  other = {"+": "-", "-": "+"}[sign] if parts[1] == "-" else sign
  return _terms(parts[0], sign) + _terms(parts[2], other)


def _factors(node: ast.expr) -> list[str]:
  parts = split_node(node)
  if parts is None or parts[1] != "*":
    return [_canonical(node)]
  return _factors(parts[0]) + _factors(parts[2])


def numbers_of(node: ast.expr) -> list[ast.expr]:
  parts = split_node(node)
  return [node] if parts is None else numbers_of(parts[0]) + numbers_of(parts[2])
