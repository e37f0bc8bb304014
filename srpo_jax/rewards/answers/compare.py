"""Compares two values part by part.

Lists match in any order and pairs in order. Brackets, units, names and words must match exactly.
"""

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction

from srpo_jax.rewards.answers import equations
from srpo_jax.rewards.answers.expression import Node, symbols
from srpo_jax.rewards.answers.form import Form, form_flaw
from srpo_jax.rewards.answers.sample import agree
from srpo_jax.rewards.answers.value import (
  Chain,
  Equation,
  Inequality,
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


@dataclasses.dataclass(frozen=True)
class Rules:
  """How to compare.

  Attributes:
    proof: decides whether two scalars that agree numerically are equal. None leaves them undecided.
    form: the rule for the form of the answer.
  """

  proof: Proof | None
  form: Form = Form.STRICT


def compare(gold: Value, answer: Value, rules: Rules) -> Outcome:
  """Compares the whole of two answers. A percent sign is free if the answer is one scalar."""
  known, stated = _scalar(gold), _scalar(answer)
  if known is not None and stated is not None and known.percent != stated.percent:
    forms = [(known, dataclasses.replace(stated, percent=known.percent))]
    return _best([_compare(gold, answer, rules)] + [_compare_quantities(*form, rules) for form in forms])
  return _compare(gold, answer, rules)


def _scalar(value: Value) -> Quantity | None:
  """Returns the number without a unit that a value is, or that the value names, or None."""
  if isinstance(value, Equation) and value.single:
    value = value.right
  plain = isinstance(value, Quantity) and not value.unit and not symbols(value.expression.tree)
  return value if plain and isinstance(value, Quantity) else None


def _compare(gold: Value, answer: Value, rules: Rules) -> Outcome:
  if isinstance(gold, Chain) or isinstance(answer, Chain):
    return _compare_chains(gold, answer, rules)
  if isinstance(gold, Equation) or isinstance(answer, Equation):
    return _compare_equations(gold, answer, rules)
  if isinstance(gold, Many) and isinstance(answer, Ordered) and _all_named(gold):
    return _compare_named(gold, answer, rules)
  if isinstance(gold, Many) != isinstance(answer, Many):
    return _compare_singleton(gold, answer, rules)
  if isinstance(gold, Quantity) and isinstance(answer, Quantity):
    return _compare_quantities(gold, answer, rules)
  if isinstance(gold, Inequality) and isinstance(answer, Inequality):
    if gold.strict != answer.strict:
      return 0, "another inequality sign"
    return _compare_sides(gold, answer, rules, positive=True)
  return _compare_groups(gold, answer, rules)


def _compare_groups(gold: Value, answer: Value, rules: Rules) -> Outcome:
  match gold, answer:
    case Many(known), Many(stated):
      if not _names_agree(gold, answer):
        return _compare_named(gold, answer, rules) if _all_named(gold) else (0, "other names")
      return _compare_any_order(known, stated, rules)
    case Union(known), Union(stated):
      return _compare_any_order(known, stated, rules)
    case Ordered(), Ordered():
      if (gold.opener, gold.closer) != (answer.opener, answer.closer):
        return 0, "other brackets"
      return _compare_in_order(gold.items, answer.items, rules)
    case Matrix(known), Matrix(stated):
      if len(known[0]) != len(stated[0]):
        return 0, "another shape"
      return _compare_in_order(sum(known, ()), sum(stated, ()), rules)
    case (Ordered(":", ":", (Quantity(), Quantity())), Quantity()) | (
      Quantity(),
      Ordered(":", ":", (Quantity(), Quantity())),
    ):
      return EQUAL if _quotient(gold) is not None and _quotient(gold) == _quotient(answer) else DIFFERENT
  if isinstance(gold, Words | Numeral | Infinity | Opaque) and gold == answer:
    return EQUAL
  return (0, "another kind of answer") if type(gold) is not type(answer) else DIFFERENT


def _quotient(value: Value) -> Fraction | None:
  """Returns the exact value of a number or of a ratio of two numbers, or None if there is none."""
  if isinstance(value, Quantity):
    return None if value.percent or value.unit else value.expression.literal
  assert isinstance(value, Ordered)
  first, second = (_quotient(item) for item in value.items)
  return first / second if first is not None and second else None


def _compare_singleton(gold: Value, answer: Value, rules: Rules) -> Outcome:
  r"""Compares a list with a single value: `\{5\}` equals 5."""
  many, single = (gold, answer) if isinstance(gold, Many) else (answer, gold)
  assert isinstance(many, Many)
  if len(many.items) != 1 or isinstance(single, Ordered | Union | Matrix):
    return 0, "another number of values"
  return _compare(many.items[0], answer, rules) if many is gold else _compare(gold, many.items[0], rules)


def _compare_in_order(gold: Sequence[Value], answer: Sequence[Value], rules: Rules) -> Outcome:
  if len(gold) != len(answer):
    return 0, "another number of values"
  outcomes = [_compare(known, stated, rules) for known, stated in zip(gold, answer, strict=True)]
  return min(outcomes, key=_severity, default=EQUAL)


def _severity(outcome: Outcome) -> int:
  return {0: 0, None: 1, 1: 2}[outcome[0]]


def _best(outcomes: list[Outcome]) -> Outcome:
  """Returns the outcome closest to equality, the first of several."""
  return max(outcomes, key=_severity)


def _compare_any_order(gold: tuple[Value, ...], answer: tuple[Value, ...], rules: Rules) -> Outcome:
  """Pairs each gold value with one value of the answer. Since equality is transitive, the first match is enough."""
  if len(gold) != len(answer):
    return 0, "another number of values"
  left = list(answer)
  worst = EQUAL
  for known in gold:
    outcomes = [_compare(known, stated, rules) for stated in left]
    best = max(range(len(left)), key=lambda index: _severity(outcomes[index]))
    if outcomes[best][0] == 0:
      return outcomes[best] if len(gold) == 1 else DIFFERENT
    worst = min(worst, outcomes[best], key=_severity)
    del left[best]
  return worst


def _all_named(gold: Many) -> bool:
  """Returns True if the values have different names, as in `x=1, y=2`."""
  names = [item.name for item in gold.items if isinstance(item, Equation) and item.single]
  return len(names) == len(gold.items) == len(set(names)) > 1


def _compare_named(gold: Many, answer: Many | Ordered, rules: Rules) -> Outcome:
  """Compares `x=2, y=3` with `(2,3)` or `2,3`, which must keep the gold answer's order."""
  if isinstance(answer, Ordered) and (answer.opener, answer.closer) != ("(", ")"):
    return 0, "other brackets"
  if any(isinstance(item, Equation) for item in answer.items):
    return 0, "other names"
  return _compare_in_order([item.right for item in gold.items if isinstance(item, Equation)], answer.items, rules)


def _names_agree(gold: Many, answer: Many) -> bool:
  """Returns True unless the names differ. If one side names several things, as in `x=1, y=2`, the other must too."""
  known, stated = _names(gold), _names(answer)
  several = len(known) > 1 or len(stated) > 1
  return not several or known == stated


def _names(many: Many) -> set[str]:
  """Returns the names in a list, without the subscripts that number the roots of one unknown."""
  return {item.name.partition("_")[0] for item in many.items if isinstance(item, Equation) and item.name}


def _compare_chains(gold: Value, answer: Value, rules: Rules) -> Outcome:
  r"""Compares values that are chains: `24*24 = 576`, or a gold answer `\frac23 \approx 0.67`.

  An answer's chain must be exact, its members equal, and its last member worked out. A gold answer's chain stands for
  each of its members. Two equations between numbers must match on both sides.
  """
  if isinstance(gold, Equation) and gold.single:
    same = isinstance(answer, Equation) and answer.name == gold.name
    return _compare_chains(gold.right, answer.right if isinstance(answer, Equation) and same else answer, rules)
  if isinstance(answer, Equation) and answer.name:
    return _compare_chains(gold, answer.right, rules)
  if not isinstance(gold, Chain):
    assert isinstance(answer, Chain)
    return _last_of(answer, gold, rules)
  if isinstance(answer, Chain) and gold.exact == answer.exact and len(gold.members) == len(answer.members):
    return _compare_in_order(gold.members, answer.members, rules)
  if len(gold.members) == 2 and gold.exact and _compare_in_order(gold.members[:1], gold.members[1:], _LOOSE)[0] == 0:
    return 0, "not an equation"
  return _best([_compare(member, answer, rules) for member in gold.members])


_LOOSE = Rules(None, Form.FREE)


def _last_of(chain: Chain, gold: Value, rules: Rules) -> Outcome:
  """Compares the last member of an answer's chain, if all members are equal."""
  repeated = any(one == other for one, other in zip(chain.members, chain.members[1:], strict=False))
  units = {member.unit for member in chain.members if isinstance(member, Quantity) and member.unit}
  if not chain.exact or repeated or len(units) > 1 or not isinstance(gold, Quantity):
    return 0, "not read as a value: a chain of equalities"
  outcomes = [_compare(gold, chain.members[-1], rules)]
  for member in chain.members[:-1]:
    assert isinstance(member, Quantity) and isinstance(chain.members[-1], Quantity)
    outcomes.append(_decide(_whole(chain.members[-1]), _whole(member), rules))
  worst = min(outcomes, key=_severity)
  if worst[0] == 0 and outcomes[0][0] != 0:
    return 0, "not read as a value: a chain of equalities"
  return worst


def _compare_equations(gold: Value, answer: Value, rules: Rules) -> Outcome:
  if not isinstance(answer, Equation):
    assert isinstance(gold, Equation)
    return _compare(gold.right, answer, rules) if gold.single else (0, "not an equation")
  if not isinstance(gold, Equation):
    return _compare(gold, answer.right, rules) if answer.name else (0, "an equation instead of a value")
  place = gold.name in ("min", "max") and answer.name == "x"  # `min at x=1` is answered by x=1
  if gold.single and answer.single and (gold.name == answer.name or place):
    return _compare(gold.right, answer.right, rules)
  if gold.single != answer.single and not _may_be_solved(gold, answer, rules.form):
    return 0, "another form of equation"
  if gold.single and answer.single and rules.form is not Form.FREE:
    return 0, "other names"
  return _compare_sides(gold, answer, rules, positive=False)


def _may_be_solved(gold: Equation, answer: Equation, form: Form) -> bool:
  """Returns True if an answer may be solved where its gold answer is not, or the other way round."""
  return form is Form.FREE or (form is Form.STRICT and answer.single)


def _compare_sides(
  gold: Equation | Inequality, answer: Equation | Inequality, rules: Rules, *, positive: bool
) -> Outcome:
  """Compares two equations, or two inequalities. They are equal if the differences of their sides are proportional."""
  known, stated = equations.difference(gold), equations.difference(answer)
  if known is None or stated is None:
    return 0, "another form of equation"
  if symbols(known.tree) != symbols(stated.tree):
    return 0, "other variables"
  flaw = form_flaw(stated, known, rules.form)
  if flaw and flaw != "minus":
    return 0, f"not evaluated: {flaw}"
  ratio = equations.ratio(known.tree, stated.tree)
  if ratio is None or (positive and ratio < 0):
    return DIFFERENT
  return _decide(known.tree, Node("mul", (Node("number", value=ratio), stated.tree)), rules)


def _compare_quantities(gold: Quantity, answer: Quantity, rules: Rules) -> Outcome:
  if gold.unit and answer.unit and gold.unit != answer.unit:
    return 0, "another unit"
  known, stated = gold.expression.literal, answer.expression.literal
  plain = known is not None and stated is not None
  if known is not None and stated is not None and known / _scale(gold) != stated / _scale(answer):
    return DIFFERENT
  if symbols(gold.expression.tree) != symbols(answer.expression.tree):
    return 0, "other variables"
  flaw = form_flaw(answer.expression, gold.expression, rules.form)
  if flaw:
    return 0, f"not evaluated: {flaw}"
  return EQUAL if plain else _decide(_whole(gold), _whole(answer), rules)


def _scale(quantity: Quantity) -> Fraction:
  return Fraction(100 if quantity.percent else 1)


def _whole(quantity: Quantity) -> Node:
  tree = quantity.expression.tree
  return Node("div", (tree, Node("number", value=_scale(quantity)))) if quantity.percent else tree


def _decide(gold: Node, answer: Node, rules: Rules) -> Outcome:
  if gold == answer:
    return EQUAL
  if agree(gold, answer) is False:
    return DIFFERENT
  if rules.proof is None:
    return UNDECIDED
  return EQUAL if rules.proof(gold, answer) else DIFFERENT
