r"""Scalar expressions as trees, with a count of the operations that they leave to do.

The counts are the heart of the guard. An answer has to be a value: `2+3` is no answer to a question whose gold is 5,
or else copying the question would be rewarded. What may stand in a value depends on the gold: `1+2\sqrt{3}` has a sum
and a root because no simpler form exists. So an answer may use the operations that its gold uses, as often as its gold
does (`unevaluated` states the exact allowances), and nothing more.
"""

import cmath
import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
  """A node: `number` with its value, `symbol` with its name, or an operation on `parts`.

  Operations: add, neg, mul, div, pow, root (of parts[0], degree parts[1]), abs, factorial, binomial, call (function
  `name` of parts[0]; for `log` parts[1] is the base).
  """

  kind: str
  parts: tuple["Node", ...] = ()
  value: Fraction = Fraction(0)
  name: str = ""


@dataclasses.dataclass(frozen=True)
class Expression:
  """A tree, the operations counted in it, and what is wrong with evaluating it (empty: nothing)."""

  tree: Node
  operations: Counter[str]

  @property
  def literal(self) -> Fraction | None:
    """The exact value where the expression is one number: an integer, decimal, simple fraction or mixed number."""
    node = self.tree
    if node.kind == "neg" and node.parts[0].kind == "number":
      return -node.parts[0].value
    return node.value if node.kind == "number" else None


def symbols(node: Node) -> frozenset[str]:
  """The variables of a tree; the constants e, i and pi are none."""
  own = frozenset({node.name}) if node.kind == "symbol" and node.name not in ("e", "i", "\\pi") else frozenset()
  return own.union(*(symbols(part) for part in node.parts))


def unevaluated(answer: Expression, gold: Expression) -> str | None:
  """The operation that `answer` leaves to do although `gold` shows that a value needs none; None where there is none.

  Allowances beyond an equal count: a fraction over a sum may be split or joined (`(a+b)/2`, `a/2+b/2`), a fraction
  may replace a decimal, one more root may stay in a denominator, a sign may move across a fraction.
  """
  asked, given = gold.operations, answer.operations
  fractions = asked["fraction"] + asked["fraction literal"] + asked["decimal"]
  allowed = {
    "sum": asked["sum"],
    "product": asked["product"],
    "bracket": asked["bracket"] + asked["fraction of a sum"],
    "computed fraction": asked["computed fraction"],
    "nested fraction": asked["nested fraction"],
    "fraction": fractions + (asked["sum"] if fractions else 0),
    "root": asked["root"] + (1 if asked["root"] and fractions else 0),
    "power": asked["power"],
    "minus": asked["minus"] + (1 if asked["minus"] and fractions else 0),
  }
  free = {"fraction literal", "decimal", "fraction of a sum"}
  for operation, count in given.items():
    if operation not in free and count > allowed.get(operation, asked[operation]):
      return operation
  return None


def numeric(node: Node, point: Mapping[str, float]) -> complex:
  """The tree's value in double precision with its variables at `point`. Raises ArithmeticError or ValueError."""
  kind = node.kind
  if kind == "number":
    return complex(float(node.value))
  if kind == "symbol":
    return {"e": complex(math.e), "i": 1j, "\\pi": complex(math.pi)}.get(node.name) or complex(point[node.name])
  parts = [numeric(part, point) for part in node.parts]
  if kind == "add":
    return sum(parts, 0j)
  if kind == "neg":
    return -parts[0]
  if kind == "mul":
    return math.prod(parts)
  if kind == "div":
    return parts[0] / parts[1]
  if kind == "pow":
    return parts[0] ** parts[1]
  if kind == "root":
    degree, base = parts[1], parts[0]
    if base.imag == 0 > base.real and degree.imag == 0 and degree.real % 2 == 1:
      return -((-base) ** (1 / degree))  # the real root, as school has it
    return base ** (1 / degree)
  if kind == "abs":
    return complex(abs(parts[0]))
  if kind == "factorial":
    return complex(float(math.factorial(round(parts[0].real))))
  if kind == "binomial":
    return complex(float(math.comb(round(parts[0].real), round(parts[1].real))))
  return _FUNCTIONS[node.name](parts[0]) / (cmath.log(parts[1]) if len(parts) == 2 else 1)


_FUNCTIONS = {
  "sin": cmath.sin,
  "cos": cmath.cos,
  "tan": cmath.tan,
  "cot": lambda x: 1 / cmath.tan(x),
  "sec": lambda x: 1 / cmath.cos(x),
  "csc": lambda x: 1 / cmath.sin(x),
  "arcsin": cmath.asin,
  "arccos": cmath.acos,
  "arctan": cmath.atan,
  "sinh": cmath.sinh,
  "cosh": cmath.cosh,
  "tanh": cmath.tanh,
  "ln": cmath.log,
  "log": cmath.log,
  "lg": cmath.log10,
  "exp": cmath.exp,
}
