"""Arithmetic in English words, as a data source for a small pretrained model: sums, differences and products.

    "What is seventeen plus eight?"
    "Maya has twenty-two shells and gives nine of them to Leo. How many shells does Maya have left?"

Every problem has two operands. A hash of the two numbers decides its split, whatever the operation and the order. So a
held-out problem shares neither its expression nor its pair of operands with any training problem. The pairs of the
worked examples are in neither split.
"""

import functools
import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from srpo_jax.data.toy.expression import Split, evaluate
from srpo_jax.data.toy.wording import choice, number_words
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

ID_PREFIX = "words/"
OPERATIONS = ("+", "-", "*")
TRAIN_ROWS, HELDOUT_ROWS = 384, 256
TERMS, FACTORS = range(2, 31), range(2, 13)  # operands of sums and differences, and of products

_NAMES = ("Maya", "Leo", "Anna", "Omar", "Clara", "Ben", "Lucy", "Sam", "Nina", "Tom", "Ella", "Max")
_THINGS = ("apples", "books", "coins", "cards", "shells", "pencils", "eggs", "stamps", "marbles", "flowers", "cups")
_PAIRS = (("apples", "pears"), ("cats", "dogs"), ("cars", "bikes"), ("chairs", "tables"), ("forks", "spoons"))
_WORDINGS = {
  "+": (
    "What is {a} plus {b}?",
    "What is the sum of {a} and {b}?",
    "What do you get when you add {a} and {b}?",
    "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
    "There are {a} {first} and {b} {second}. How many {first} and {second} are there together?",
    "{name} finds {a} {things} and {other} finds {b}. How many {things} do they find in total?",
  ),
  "-": (
    "What is {a} minus {b}?",
    "What is {a} take away {b}?",
    "What do you get when you subtract {b} from {a}?",
    "{name} has {a} {things} and gives {b} of them to {other}. How many {things} does {name} have left?",
    "A shop has {a} {things} and sells {b} of them. How many {things} are left?",
    "There were {a} {things} on the table and {b} were taken away. How many {things} are still there?",
  ),
  "*": (
    "What is {a} times {b}?",
    "What is {a} multiplied by {b}?",
    "What is the product of {a} and {b}?",
    "{name} has {a} boxes with {b} {things} in each. How many {things} does {name} have?",
    "There are {a} rows of {b} {things}. How many {things} are there in all?",
    "{name} buys {b} {things} on each of {a} days. How many {things} does {name} buy?",
  ),
}
_EXAMPLES = (  # (expression, question, working)
  ("23+14", "What is twenty-three plus fourteen?", "23 + 14 = 37."),
  ("38-15", "Rosa has thirty-eight beads and loses fifteen of them. How many beads are left?", "38 - 15 = 23."),
)


def examples() -> list[dict[str, Any]]:
  """Returns two worked examples in the required form, for `prompt.examples`."""
  return [
    {"question": question, "response": f" {work} </think> <answer> \\boxed{{{evaluate(expression)}}} </answer>"}
    for expression, question, work in _EXAMPLES
  ]


def train_problems() -> tuple[Problem, ...]:
  """Returns the training problems, as a data source for a config."""
  return problems("train", TRAIN_ROWS, seed=0)


def heldout_problems() -> tuple[Problem, ...]:
  """Returns the held-out problems, as a data source for a config."""
  return problems("heldout", HELDOUT_ROWS, seed=0)


def problems(split: Split, size: int, seed: int) -> tuple[Problem, ...]:
  """Draws problems with distinct expressions. The operations alternate until one runs out.

  `seed` decides which expressions are drawn and how they are worded, but not which split an expression belongs to.

  Raises:
    InputError: an unknown split, or a size that the split does not have.
  """
  if split not in ("train", "heldout"):
    raise InputError(f"split {split!r}: expected train or heldout")
  pools = _expressions(split)
  most = sum(map(len, pools))
  if not 0 < size <= most:
    raise InputError(f"size {size} of the {split} split: expected 1 to {most}")
  rng = np.random.default_rng([seed, split == "heldout"])
  shuffled = [[pool[i] for i in rng.permutation(len(pool))] for pool in pools]
  turns = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
  drawn = itertools.islice((expression for expression in turns if expression is not None), size)
  return tuple(_problem(expression, rng) for expression in drawn)


def _problem(expression: str, rng: np.random.Generator) -> Problem:
  operation, (a, b) = _parts(expression)
  if operation != "-" and rng.random() < 0.5:
    a, b = b, a
  name, other = (_NAMES[i] for i in rng.choice(len(_NAMES), size=2, replace=False))
  first, second = _PAIRS[rng.integers(len(_PAIRS))]
  question = choice(_WORDINGS[operation], rng).format(
    a=number_words(a), b=number_words(b), name=name, other=other, things=choice(_THINGS, rng), first=first,
    second=second,
  )  # fmt: skip
  return Problem(
    id=f"{ID_PREFIX}{a}{operation}{b}",
    domain="math",
    question=question,
    answer=str(evaluate(expression)),
    source="word arithmetic",
  )


@functools.cache
def _expressions(split: Split) -> tuple[tuple[str, ...], ...]:
  """Returns the expressions of a split for each of OPERATIONS. A sum or a product is listed in one order only."""
  return tuple(tuple(e for e in candidates if _split_of(_pair(e)) == split) for candidates in _candidates())


def _candidates() -> tuple[Iterator[str], ...]:
  return (
    (f"{a}+{b}" for a in TERMS for b in TERMS if a <= b),
    (f"{a}-{b}" for a in TERMS for b in TERMS if a > b),
    (f"{a}*{b}" for a in FACTORS for b in FACTORS if a <= b),
  )


def _split_of(pair: tuple[int, ...]) -> Split | None:
  """Returns the split of a pair of operands: half of the pairs are held out. None: an example uses the pair."""
  if pair in {_pair(expression) for expression, _, _ in _EXAMPLES}:
    return None
  return "heldout" if hashlib.sha256(repr(pair).encode()).digest()[0] % 2 else "train"


def _pair(expression: str) -> tuple[int, ...]:
  """Returns the operands of an expression in ascending order."""
  return tuple(sorted(_parts(expression)[1]))


def _parts(expression: str) -> tuple[str, tuple[int, int]]:
  """Returns the operation and the operands of an expression."""
  operation = next(mark for mark in OPERATIONS if mark in expression)
  a, b = map(int, expression.split(operation))
  return operation, (a, b)
