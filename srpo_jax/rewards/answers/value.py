r"""The values that answers are read as.

A tree of small dataclasses keeps the meaning of every kind of grouping: `1,2` (solutions in any order), `(1,2)` (a pair
or an open interval, in order), `[1,2]`, `\{1,2\}`, matrices, equations, words, and numerals in a base.
"""

import dataclasses
from collections.abc import Iterator

from srpo_jax.rewards.answers.expression import Expression


@dataclasses.dataclass(frozen=True)
class Quantity:
  """A scalar with its unit. `unit` is None if it has none. A percent sign is part of the value."""

  expression: Expression
  unit: str | None = None
  percent: bool = False


@dataclasses.dataclass(frozen=True)
class Words:
  """An answer in words, with case and blanks normalized. A choice `(B)` is the word `B`."""

  text: str


@dataclasses.dataclass(frozen=True)
class Numeral:
  """Digits in a base, such as `4210_{5}`. Compared as written, because such questions ask for the conversion."""

  digits: str
  base: int


@dataclasses.dataclass(frozen=True)
class Infinity:
  sign: int


@dataclasses.dataclass(frozen=True)
class Many:
  """Values in any order, with repetitions: a list of solutions or a finite set."""

  items: tuple["Value", ...]


@dataclasses.dataclass(frozen=True)
class Union:
  """A union of intervals, in any order."""

  items: tuple["Value", ...]


@dataclasses.dataclass(frozen=True)
class Ordered:
  """Values in order between delimiters: a tuple, an interval or a ratio.

  Attributes:
    solved: True if the text was an inequality, not an interval.
  """

  opener: str
  closer: str
  items: tuple["Value", ...]
  solved: bool = False


@dataclasses.dataclass(frozen=True)
class Matrix:
  rows: tuple[tuple["Value", ...], ...]


@dataclasses.dataclass(frozen=True)
class Equation:
  """An equation `left = right`.

  Attributes:
    name: the left side as text if it only names something, else None.
    single: True if the left side is one name, such as `x`, and not a sum of names, such as `m+n`.
  """

  left: "Value"
  right: "Value"
  name: str | None
  single: bool


@dataclasses.dataclass(frozen=True)
class Inequality:
  """An inequality `left < right` or `left <= right` that is not solved for a name."""

  left: Quantity
  right: Quantity
  strict: bool


@dataclasses.dataclass(frozen=True)
class Chain:
  """Values that a text calls equal, such as `24*24 = 576`, or nearly equal.

  Attributes:
    exact: True if the members are joined by `=` only, not by `\\approx`.
  """

  members: tuple["Value", ...]
  exact: bool


@dataclasses.dataclass(frozen=True)
class Opaque:
  """A text that cannot be read as a value. It equals only its own spelling.

  Attributes:
    why: the reason in a few words.
  """

  spelling: str
  why: str


Value = Quantity | Words | Numeral | Infinity | Many | Union | Ordered | Matrix | Equation | Inequality | Chain | Opaque


def parts(value: Value) -> Iterator[Value]:
  """Yields a value and all values in it, without the names on left sides."""
  yield value
  match value:
    case Many(items) | Union(items) | Ordered(items=items) | Chain(members=items):
      inside = items
    case Matrix(rows):
      inside = sum(rows, ())
    case Equation(_, right, str()):
      inside = (right,)
    case Equation(left, right) | Inequality(left, right):
      inside = (left, right)
    case _:
      inside = ()
  for item in inside:
    yield from parts(item)


def flaw(value: Value) -> str | None:
  """Returns the reason why a value or a part of it is not read, or None if all of it is."""
  return next((part.why for part in parts(value) if isinstance(part, Opaque)), None)
