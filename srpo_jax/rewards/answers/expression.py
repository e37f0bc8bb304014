r"""Scalar expressions as trees, with a count of their unevaluated operations.

The counts keep a policy from being rewarded for copying the question. An answer must be a value: `2+3` is not an answer
to a question whose gold answer is 5. The operations that a value may contain depend on the gold answer: `1+2\sqrt{3}`
has a sum and a root because no simpler form exists. An answer may therefore use only the operations that its gold
answer uses, and only as often. `form.py` states the exact allowances.
"""

import dataclasses
from collections import Counter
from fractions import Fraction


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
  """A node of a tree: a `number` with its value, a `symbol` with its name, or an operation on `parts`.

  Operations: add, neg, mul, div, pow, root (of parts[0], with degree parts[1]), abs, factorial, binomial, and call
  (function `name` of parts[0]; for `log`, parts[1] is the base if there is one; `floor` and `ceil` round), and
  series (the sum of parts[0] for the variable `name` from parts[1] to parts[2]) or product (likewise).
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
  found = own.union(*(symbols(part) for part in node.parts))
  return found - {node.name} if node.kind in ("series", "product") else found
