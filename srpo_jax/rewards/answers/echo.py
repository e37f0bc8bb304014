"""Finds out whether a question holds its own answer, so that a copy of it must not score.

"Expand (x+1)(x+2)" and "Write 2x-y+3=0 as y=mx+b" hold an expression that is equal in value to the gold answer. There
the form of the answer is what was asked for. "Differentiate x^3" does not.
"""

import functools
import itertools
import re
from collections.abc import Iterator

from srpo_jax.rewards.answers.equations import difference, ratio
from srpo_jax.rewards.answers.expression import Node, symbols
from srpo_jax.rewards.answers.form import Form
from srpo_jax.rewards.answers.latex import FUNCTIONS, names
from srpo_jax.rewards.answers.read import read_gold, read_value
from srpo_jax.rewards.answers.sample import agree
from srpo_jax.rewards.answers.value import Chain, Equation, Inequality, Quantity, Value, parts

MAX_QUESTION = 8192  # characters of a question that are searched
MAX_EXPRESSIONS = 128
MAX_VALUES = 256  # values in these expressions that are compared
MAX_LENGTH = 256  # characters of an expression

_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?![A-Za-z])|(?<![A-Za-z0-9)}\]])(?:a|A|I)(?= )")
_STOP = re.compile(r"[?;:\"“”]|[.,](?=\s|$)|(?<=\s)[.,]")
_RELATION = re.compile(r"\\(?:leq?|geq?|neq?|equiv|approx|qquad|quad|text\s*\{[^{}]*\})|[=<>,;]")
_KEPT = FUNCTIONS | names("sqrt pi")
_TOO_SHORT = re.compile(r"\s*[A-Za-z]?\s*")


@functools.lru_cache(maxsize=4096)
def form_asked(question: str | None, gold: str) -> Form:
  """Returns the rule for the form of answers to a question.

  Args:
    question: the question. None: it is not known.
    gold: the gold answer, LaTeX or plain.
  """
  if question is None or not question.strip():
    return Form.STRICT
  known = list(_targets(read_gold(gold)))
  values = (value for text in expressions(question[:MAX_QUESTION]) for value in parts(read_value(text, MAX_LENGTH)))
  echoes = (_same(one, stated) for stated in itertools.islice(values, MAX_VALUES) for one in known)
  return Form.ECHO if any(echoes) else Form.FREE


def _targets(value: Value) -> Iterator[Value]:
  """Yields what a question must hold to be an echo: the value itself, or a part of it with variables."""
  match value:
    case Quantity() | Inequality():
      yield value
    case Equation():
      yield value
      if value.single:
        yield from _targets(value.right)
    case Chain():
      for member in value.members:
        yield from _targets(member)
    case _:
      found = (part for part in parts(value) if isinstance(part, Quantity | Equation | Inequality))
      yield from (part for part in found if not isinstance(part, Quantity) or symbols(part.expression.tree))


def expressions(question: str) -> Iterator[str]:
  """Yields the mathematical expressions of a question, whole and split at relations: at most MAX_EXPRESSIONS."""
  seen: set[str] = set()
  for piece in _pieces(question):
    piece = piece.strip().strip(".,").strip()
    if piece in seen or _TOO_SHORT.fullmatch(piece) or len(piece) > MAX_LENGTH:
      continue
    seen.add(piece)
    yield piece
    if len(seen) == MAX_EXPRESSIONS:
      return


def _pieces(question: str) -> Iterator[str]:
  for formula in _FORMULA.finditer(question):
    content = next(group for group in formula.groups() if group is not None)
    yield content
    yield from _RELATION.split(content)
  for text in (_FORMULA.sub(" ; ", question), question):
    plain = _WORD.sub(lambda word: word[0] if word[0] in _KEPT else ";", text.replace("$", " "))
    for chunk in _STOP.split(plain):
      yield chunk
      yield from _RELATION.split(chunk)


def _same(gold: Value, stated: Value) -> bool:
  """Returns True if two scalars are equal in value, or two equations in their solutions."""
  if isinstance(gold, Quantity) and isinstance(stated, Quantity):
    return _equal(gold.expression.tree, stated.expression.tree)
  if isinstance(gold, Equation | Inequality) and type(gold) is type(stated):
    known, found = difference(gold), difference(stated)  # type: ignore[arg-type]
    if known is None or found is None or symbols(known.tree) != symbols(found.tree):
      return False
    factor = ratio(known.tree, found.tree)
    return factor is not None and _equal(known.tree, Node("mul", (Node("number", value=factor), found.tree)))
  return False


def _equal(gold: Node, stated: Node) -> bool:
  return symbols(gold) <= symbols(stated) and (gold == stated or agree(gold, stated) is not False)
