"""Compares two values part by part.

Lists match in any order and pairs in order. Brackets, units, names and words must match exactly.
"""

from collections.abc import Callable
from fractions import Fraction

from srpo_jax.rewards.answers.expression import Expression, Node, numeric, symbols, unevaluated
from srpo_jax.rewards.answers.value import (
  Equation,
  Infinity,
  Many,
  Matrix,
  Numeral,
  Opaque,
  Ordered,
  Quantity,
  Union,
  Value,
  Words,
)

Outcome = tuple[int | None, str]  # 1 (equal), 0 (different) or None (a proof must decide), and the reason
Proof = Callable[[Node, Node], bool]

EQUAL: Outcome = (1, "equal")
DIFFERENT: Outcome = (0, "different value")
UNDECIDED: Outcome = (None, "undecided")

_TOLERANCE = 1e-9  # relative; two double-precision values this close may be equal


def compare(gold: Value, answer: Value, proof: Proof | None) -> Outcome:
  """Compares two values part by part.

  Args:
    proof: decides whether two scalars that agree numerically are equal. None leaves them undecided.
  """
  if isinstance(gold, Equation) or isinstance(answer, Equation):
    return _compare_equations(gold, answer, proof)
  if isinstance(gold, Many) != isinstance(answer, Many):
    return _compare_singleton(gold, answer, proof)
  if isinstance(gold, Quantity) and isinstance(answer, Quantity):
    return _compare_quantities(gold, answer, proof)
  if isinstance(gold, Many) and isinstance(answer, Many):
    if not _names_agree(gold, answer):
      return 0, "other names"
    return _compare_any_order(gold.items, answer.items, proof)
  if isinstance(gold, Union) and isinstance(answer, Union):
    return _compare_any_order(gold.items, answer.items, proof)
  if isinstance(gold, Ordered) and isinstance(answer, Ordered):
    if (gold.opener, gold.closer) != (answer.opener, answer.closer):
      return 0, "other brackets"
    return _compare_in_order(gold.items, answer.items, proof)
  if isinstance(gold, Matrix) and isinstance(answer, Matrix):
    if len(gold.rows[0]) != len(answer.rows[0]):
      return 0, "another shape"
    return _compare_in_order(sum(gold.rows, ()), sum(answer.rows, ()), proof)
  if isinstance(gold, Words | Numeral | Infinity | Opaque) and gold == answer:
    return EQUAL
  return (0, "another kind of answer") if type(gold) is not type(answer) else DIFFERENT


def _compare_singleton(gold: Value, answer: Value, proof: Proof | None) -> Outcome:
  r"""Compares a list with a single value: `\{5\}` equals 5."""
  many, single = (gold, answer) if isinstance(gold, Many) else (answer, gold)
  assert isinstance(many, Many)
  if len(many.items) != 1 or isinstance(single, Ordered | Union | Matrix):
    return 0, "another number of values"
  return compare(many.items[0], answer, proof) if many is gold else compare(gold, many.items[0], proof)


def _compare_in_order(gold: tuple[Value, ...], answer: tuple[Value, ...], proof: Proof | None) -> Outcome:
  if len(gold) != len(answer):
    return 0, "another number of values"
  outcomes = [compare(known, stated, proof) for known, stated in zip(gold, answer, strict=True)]
  return min(outcomes, key=_severity, default=EQUAL)


def _severity(outcome: Outcome) -> int:
  return {0: 0, None: 1, 1: 2}[outcome[0]]


def _compare_any_order(gold: tuple[Value, ...], answer: tuple[Value, ...], proof: Proof | None) -> Outcome:
  """Pairs each gold value with one value of the answer. Since equality is transitive, the first match is enough."""
  if len(gold) != len(answer):
    return 0, "another number of values"
  left = list(answer)
  worst = EQUAL
  for known in gold:
    outcomes = [compare(known, stated, proof) for stated in left]
    best = max(range(len(left)), key=lambda index: _severity(outcomes[index]))
    if outcomes[best][0] == 0:
      return outcomes[best] if len(gold) == 1 else DIFFERENT
    worst = min(worst, outcomes[best], key=_severity)
    del left[best]
  return worst


def _names_agree(gold: Many, answer: Many) -> bool:
  """Returns True unless the names differ. If one side names several things, as in `x=1, y=2`, the other must too."""
  known, stated = _names(gold), _names(answer)
  several = len(known) > 1 or len(stated) > 1
  return not several or known == stated


def _names(many: Many) -> set[str]:
  """Returns the names in a list, without the subscripts that number the roots of one unknown."""
  return {item.name.partition("_")[0] for item in many.items if isinstance(item, Equation) and item.name}


def _compare_equations(gold: Value, answer: Value, proof: Proof | None) -> Outcome:
  if not isinstance(answer, Equation):
    assert isinstance(gold, Equation)
    return compare(gold.right, answer, proof) if gold.single else (0, "not an equation")
  if not isinstance(gold, Equation):
    return compare(gold, answer.right, proof) if answer.name else (0, "an equation instead of a value")
  if gold.single and answer.single:
    return compare(gold.right, answer.right, proof) if gold.name == answer.name else (0, "other names")
  sides = (gold.left, gold.right, answer.left, answer.right)
  if gold.single or answer.single or not all(isinstance(side, Quantity) for side in sides):
    return 0, "another form of equation"
  return _compare_implicit(*(side.expression for side in sides if isinstance(side, Quantity)), proof=proof)


def _compare_implicit(
  gold_left: Expression, gold_right: Expression, left: Expression, right: Expression, *, proof: Proof | None
) -> Outcome:
  """Compares two equations. They are equal if the differences of their sides are proportional."""
  gold = _difference(gold_left, gold_right)
  answer = _difference(left, right)
  if symbols(gold.tree) != symbols(answer.tree):
    return 0, "other variables"
  operation = unevaluated(answer, gold)
  if operation and operation != "minus":
    return 0, f"not evaluated: {operation}"
  ratio = _ratio(gold.tree, answer.tree)
  if ratio is None:
    return DIFFERENT
  scaled = Node("mul", (Node("number", value=ratio), answer.tree))
  return _decide(gold.tree, scaled, proof)


def _difference(left: Expression, right: Expression) -> Expression:
  return Expression(Node("add", (left.tree, Node("neg", (right.tree,)))), left.operations + right.operations)


def _ratio(gold: Node, answer: Node) -> Fraction | None:
  """Returns the simple fraction `gold / answer` at one point, or None if it is zero or cannot be computed."""
  try:
    quotient = numeric(gold, _points(gold)[0]) / numeric(answer, _points(gold)[0])
    ratio = Fraction(quotient.real).limit_denominator(10_000)
  except (ArithmeticError, ValueError):
    return None
  return ratio or None


def _compare_quantities(gold: Quantity, answer: Quantity, proof: Proof | None) -> Outcome:
  if gold.unit and answer.unit and gold.unit != answer.unit:
    return 0, "another unit"
  known, stated = gold.expression.literal, answer.expression.literal
  plain = known is not None and stated is not None
  if known is not None and stated is not None and known / _scale(gold) != stated / _scale(answer):
    return DIFFERENT
  if symbols(gold.expression.tree) != symbols(answer.expression.tree):
    return 0, "other variables"
  operation = unevaluated(answer.expression, gold.expression)
  if operation:
    return 0, f"not evaluated: {operation}"
  return EQUAL if plain else _decide(_whole(gold), _whole(answer), proof)


def _scale(quantity: Quantity) -> Fraction:
  return Fraction(100 if quantity.percent else 1)


def _whole(quantity: Quantity) -> Node:
  tree = quantity.expression.tree
  return Node("div", (tree, Node("number", value=_scale(quantity)))) if quantity.percent else tree


def _decide(gold: Node, answer: Node, proof: Proof | None) -> Outcome:
  if gold == answer:
    return EQUAL
  if not _agree(gold, answer):
    return DIFFERENT
  if proof is None:
    return UNDECIDED
  return EQUAL if proof(gold, answer) else DIFFERENT


def _points(node: Node) -> list[dict[str, float]]:
  """Returns three points at which to evaluate a tree. They are the same in every process."""
  names = sorted(symbols(node))
  return [{name: 0.37 + ((7 * place + 3 * index) % 11) / 7 for index, name in enumerate(names)} for place in (1, 2, 3)]


def _agree(gold: Node, answer: Node) -> bool:
  """Returns True if two trees may be equal: they agree at every point where their values do not overflow."""
  for point in _points(gold):
    try:
      known, stated = numeric(gold, point), numeric(answer, point)
    except OverflowError:
      continue
    except (ArithmeticError, ValueError):
      return False
    if not abs(known - stated) <= _TOLERANCE * max(abs(known), abs(stated)):
      return False
  return True
