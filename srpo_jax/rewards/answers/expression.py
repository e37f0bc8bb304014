r"""Scalar expressions as trees, with a count of their unevaluated operations.

The counts keep a policy from being rewarded for copying the question. An answer must be a value: `2+3` is not an answer
to a question whose gold answer is 5. The operations that a value may contain depend on the gold answer: `1+2\sqrt{3}`
has a sum and a root because no simpler form exists. An answer may therefore use only the operations that its gold
answer uses, and only as often. `unevaluated` states the exact allowances.
"""

import cmath
import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
  """A node of a tree: a `number` with its value, a `symbol` with its name, or an operation on `parts`.

  Operations: add, neg, mul, div, pow, root (of parts[0], with degree parts[1]), abs, factorial, binomial, and call
  (function `name` of parts[0]; for `log`, parts[1] is the base if there is one).
  """

  kind: str
  parts: tuple["Node", ...] = ()
  value: Fraction = Fraction(0)
  name: str = ""


@dataclasses.dataclass(frozen=True)
class Expression:
  """A tree and the counts of its operations."""

  tree: Node
  operations: Counter[str]

  @property
  def literal(self) -> Fraction | None:
    """Exact value if the expression is a single number, else None.

    A single number is an integer, a decimal, a simple fraction or a mixed number, with or without a minus.
    """
    node = self.tree
    if node.kind == "neg" and node.parts[0].kind == "number":
      return -node.parts[0].value
    return node.value if node.kind == "number" else None


def symbols(node: Node) -> frozenset[str]:
  """Returns the variables of a tree. The constants e, i and pi are not variables."""
  own = frozenset({node.name}) if node.kind == "symbol" and node.name not in ("e", "i", "\\pi") else frozenset()
  return own.union(*(symbols(part) for part in node.parts))


def unevaluated(answer: Expression, gold: Expression) -> str | None:
  """Returns an operation that `answer` uses more often than `gold` allows, or None if there is none.

  An answer may use each operation as often as its gold answer. Beyond that, a fraction over a sum may be split or
  joined (`(a+b)/2`, `a/2+b/2`), a fraction may replace a decimal, one more root may stay in a denominator, and a sign
  may move across a fraction.
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
  """Evaluates a tree in double precision, with its variables at `point`.

  Raises:
    ArithmeticError: a division by zero or an overflow.
    ValueError: a function is not defined at its argument.
  """
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
      return -((-base) ** (1 / degree))  # the real root, as taught at school
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
