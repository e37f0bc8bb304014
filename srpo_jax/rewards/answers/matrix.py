r"""Reads matrices, and sums of matrices with scalar factors, such as `\frac{1}{2}\begin{pmatrix} ... \end{pmatrix}`."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from srpo_jax.rewards.answers.brackets import enclosed, split
from srpo_jax.rewards.answers.expression import Expression, Node
from srpo_jax.rewards.answers.latex import CLOSERS, OPENERS, Token, Unreadable
from srpo_jax.rewards.answers.parser import parse
from srpo_jax.rewards.answers.value import Matrix, Quantity, Value

_ENVIRONMENTS = frozenset(["pmatrix", "bmatrix", "matrix", "smallmatrix", "array"])
MAX_TERMS = 16
MAX_NESTING = 4

Reader = Callable[[list[Token]], Value]


def is_matrix(found: list[Token]) -> bool:
  """Returns True if the tokens hold an environment, as every matrix does."""
  return any(token.text == "\\begin" for token in found)


def matrix(found: list[Token], read: Reader, nesting: int = 0) -> Matrix:
  """Reads a matrix, or a sum of matrices with scalar factors, as one matrix.

  Args:
    read: reads one entry.
    nesting: the number of brackets around `found`.

  Raises:
    Unreadable: the tokens are something else, or the shapes differ.
  """
  terms = _signed_terms(found)
  if len(terms) > MAX_TERMS or nesting > MAX_NESTING:
    raise Unreadable("too many matrices")
  total: Matrix | None = None
  for minus, term in terms:
    scaled = _term(term, read, nesting)
    if minus:
      scaled = _each(scaled, lambda entry: Expression(Node("neg", (entry.tree,)), entry.operations))
    total = scaled if total is None else _added(total, scaled)
  assert total is not None
  return total


def _signed_terms(found: list[Token]) -> list[tuple[bool, list[Token]]]:
  """Splits tokens at the signs outside brackets and environments. Returns each term with True if it is subtracted."""
  first = found[0].text if found else ""
  rest = found[1:] if first in ("+", "-") else found
  terms, signs = split(rest, lambda token: token.text in ("+", "-"))
  return list(zip([first == "-", *(sign == "-" for sign in signs)], terms, strict=True))


def _term(found: list[Token], read: Reader, nesting: int) -> Matrix:
  """Reads one matrix, or a bracketed sum of matrices, with scalar factors before or after it."""
  start, end = _block(found)
  factor = _without_dots(found[:start], found[end:])
  inside = enclosed(found[start:end], "(", "[")
  if inside is None:
    value = _environment(found[start:end], read)
  elif inside[0].text == "\\begin" and _block(inside) == (0, len(inside)):
    value = _environment(inside, read)
  else:
    value = matrix(inside, read, nesting + 1)
  if not factor:
    return value
  if is_matrix(factor):
    raise Unreadable("a product of matrices")
  if [token.text for token in factor] == ["-"]:
    return _each(value, lambda entry: Expression(Node("neg", (entry.tree,)), entry.operations))
  scalar = parse(factor)
  return _each(value, lambda entry: _product(scalar, entry))


def _block(found: list[Token]) -> tuple[int, int]:
  """Returns the first and the last index (exclusive) of the matrix in a term."""
  start = next((index for index, token in enumerate(found) if token.text == "\\begin"), None)
  if start is None:
    raise Unreadable("a matrix and a number")
  depth = 0
  opened: list[int] = []
  for index, token in enumerate(found[:start]):
    if token.text in OPENERS and token.kind in ("symbol", "command"):
      opened.append(index)
    elif token.text in CLOSERS and opened and token.kind in ("symbol", "command"):
      opened.pop()
  if opened:
    start = opened[0]
    for index in range(start, len(found)):
      token = found[index]
      if token.kind in ("symbol", "command"):
        depth += (token.text in OPENERS) - (token.text in CLOSERS)
      if depth == 0:
        return start, index + 1
    raise Unreadable("a bracket that is not closed")
  level = 0
  for index in range(start, len(found)):
    level += (found[index].text == "\\begin") - (found[index].text == "\\end")
    if level == 0:
      return start, index + 4
  raise Unreadable("an environment that is not closed")


def _without_dots(before: list[Token], after: list[Token]) -> list[Token]:
  """Returns the factors of a matrix without the signs that only multiply them by the matrix."""
  if before and before[-1].text == "\\cdot":
    before = before[:-1]
  if after and after[0].text == "\\cdot":
    after = after[1:]
  return before + after


def _environment(found: list[Token], read: Reader) -> Matrix:
  begin, end = [token.text for token in found[1:4]], [token.text for token in found[-4:]]
  environment = begin[1] if len(begin) == 3 else ""
  if environment not in _ENVIRONMENTS or begin != ["{", environment, "}"] or end != ["\\end", *begin]:
    raise Unreadable("an environment that is not read")
  body = found[4:-4]
  if environment == "array":
    body = _without_columns(body)
  while body and body[-1].text in ("\\\\", "\\hline"):
    body = body[:-1]
  if not body:
    raise Unreadable("an empty matrix")
  rows = split(body, lambda token: token.text == "\\\\")[0]
  cells = tuple(tuple(read(cell) for cell in split(row, lambda token: token.text == "&")[0]) for row in rows)
  if len({len(row) for row in cells}) != 1:
    raise Unreadable("rows of different lengths")
  return Matrix(cells)


def _without_columns(body: list[Token]) -> list[Token]:
  """Removes the layout of the columns of an array, such as `{ccr}`."""
  end = next((index for index, token in enumerate(body) if token.text == "}"), None)
  if end is None or body[0].text != "{" or not set("".join(token.text for token in body[1:end])) <= set("lcr"):
    raise Unreadable("an array with lines or without columns")
  return body[end + 1 :]


def _each(value: Matrix, change: Callable[[Expression], Expression]) -> Matrix:
  return Matrix(tuple(tuple(Quantity(change(_entry(cell))) for cell in row) for row in value.rows))


def _entry(cell: Value) -> Expression:
  if not isinstance(cell, Quantity) or cell.percent or cell.unit:
    raise Unreadable("a matrix whose entries are no numbers")
  return cell.expression


def _product(scalar: Expression, entry: Expression) -> Expression:
  known, stated = scalar.literal, entry.literal
  if known is not None and stated is not None:
    return _literal(known * stated)
  if known == 0 or stated == 0:
    return _literal(Fraction(0))
  if known == 1 or stated == 1:
    return entry if known == 1 else scalar
  return Expression(Node("mul", (scalar.tree, entry.tree)), scalar.operations + entry.operations)


def _literal(value: Fraction) -> Expression:
  node = Node("number", value=abs(value))
  return Expression(node, Counter()) if value >= 0 else Expression(Node("neg", (node,)), Counter({"minus": 1}))


def _added(left: Matrix, right: Matrix) -> Matrix:
  if (len(left.rows), len(left.rows[0])) != (len(right.rows), len(right.rows[0])):
    raise Unreadable("matrices of different shapes")
  rows = []
  for one, other in zip(left.rows, right.rows, strict=True):
    rows.append(tuple(Quantity(_sum(_entry(a), _entry(b))) for a, b in zip(one, other, strict=True)))
  return Matrix(tuple(rows))


def _sum(left: Expression, right: Expression) -> Expression:
  known, stated = left.literal, right.literal
  if known is not None and stated is not None:
    return _literal(known + stated)
  if known == 0 or stated == 0:
    return right if known == 0 else left
  return Expression(Node("add", (left.tree, right.tree)), left.operations + right.operations + Counter({"sum": 1}))
