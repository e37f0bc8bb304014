r"""Rules for the form of an answer, which keep a policy from being rewarded for copying the question.

Which rule applies depends on the question (`echo.py`):

  STRICT  There is no question. An answer may use only the operations that its gold answer uses, and only as often.
  ECHO    An expression of the question equals the gold answer, as in "Factor x^2-1". As STRICT, and the answer must be
          a product exactly if the gold answer is one, and solved exactly if the gold answer is.
  FREE    The question holds no such expression. An answer with variables may have any form. A number must still be
          worked out, but `1.2\times10^5` is a number.
"""

import enum

from srpo_jax.rewards.answers.expression import Expression, Node, symbols


class Form(enum.Enum):
  """The rule for the form of an answer."""

  STRICT = "strict"
  ECHO = "echo"
  FREE = "free"


def form_flaw(answer: Expression, gold: Expression, form: Form) -> str | None:
  """Returns what the form of an answer has that it must not have, or None if the form is right."""
  closed = not symbols(gold.tree)
  if form is Form.FREE and (not closed or _is_scientific(answer.tree)):
    return None
  operation = unevaluated(answer, gold)
  if operation == "bracket" and closed:  # 11(1+\sqrt{5})
    operation = unevaluated(answer, gold, brackets=True)
  if operation:
    return operation
  if form is Form.ECHO and _is_product(gold.tree) != _is_product(answer.tree):
    return "not a product" if _is_product(gold.tree) else "a product"
  return None


def unevaluated(answer: Expression, gold: Expression, *, brackets: bool = False) -> str | None:
  """Returns an operation that `answer` uses more often than `gold` allows, or None if there is none.

  An answer may use each operation as often as its gold answer. Beyond that, a fraction over a sum may be split or
  joined (`(a+b)/2`, `a/2+b/2`), a fraction may replace a decimal or a negative exponent, one more root may stay in a
  denominator, and a sign may move across a fraction or into an exponent.

  Args:
    brackets: allow any number of brackets.
  """
  asked, given = gold.operations, answer.operations
  fractions = asked["fraction"] + asked["fraction literal"] + asked["decimal"]
  inverse = asked["power"] + asked["root"]
  allowed = {
    "sum": asked["sum"],
    "product": asked["product"],
    "bracket": asked["bracket"] + asked["fraction of a sum"],
    "computed fraction": asked["computed fraction"],
    "nested fraction": asked["nested fraction"],
    "fraction": fractions + (asked["sum"] if fractions else 0) + (asked["minus"] if inverse else 0),
    "root": asked["root"] + (1 if asked["root"] and fractions else 0),
    "power": asked["power"],
    "minus": asked["minus"] + (1 if asked["minus"] and fractions else 0) + (fractions if inverse else 0),
  }
  free = {"fraction literal", "decimal", "fraction of a sum"} | ({"bracket"} if brackets else set())
  for operation, count in given.items():
    if operation not in free and count > allowed.get(operation, asked[operation]):
      return operation
  return None


def _is_scientific(node: Node) -> bool:
  r"""Returns True for a power of ten, with or without a decimal before it: `10^6`, `1.2\times10^5`."""
  if node.kind == "neg":
    return _is_scientific(node.parts[0])
  if node.kind == "mul" and len(node.parts) == 2 and node.parts[0].kind == "number":
    return abs(node.parts[0].value) < 10 and _is_power_of_ten(node.parts[1])
  return _is_power_of_ten(node)


def _is_power_of_ten(node: Node) -> bool:
  if node.kind != "pow" or node.parts[0] != Node("number", value=type(node.parts[0].value)(10)):
    return False
  exponent = node.parts[1].parts[0] if node.parts[1].kind == "neg" else node.parts[1]
  return exponent.kind == "number" and exponent.value.denominator == 1


def _is_product(node: Node) -> bool:
  """Returns True for a product or a power with a sum in it, such as `2(x+3)` or `(x+1)^2`."""
  if node.kind == "neg" or node.kind == "div":
    return _is_product(node.parts[0])
  if node.kind == "pow":
    return node.parts[0].kind == "add"
  return node.kind == "mul" and any(part.kind == "add" or _is_product(part) for part in node.parts)
