"""Arithmetic in English words, as a data source for a small pretrained model: sums, differences and products.

    "What is seven plus eight?"
    "What do you get when you subtract five from eleven?"

Every problem has two operands from 2 to 12. A hash of the two decides its split, whatever the operation and the order.
So a held-out problem shares neither its expression nor its pair of operands with any training problem. The pairs of the
worked examples are in neither split. Within a split an expression may come back in another wording.
"""

import functools
import hashlib
import itertools
from typing import Any

import numpy as np

from srpo_jax.data.toy.expression import Split, evaluate
from srpo_jax.data.toy.wording import number_words
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

ID_PREFIX = "words/"
OPERANDS = range(2, 13)
TRAIN_ROWS, HELDOUT_ROWS = 384, 256

_WORDINGS = {
  "+": (
    "What is {a} plus {b}?",
    "What is {a} added to {b}?",
    "What is the sum of {a} and {b}?",
    "What do you get when you add {a} and {b}?",
    "How much are {a} and {b} together?",
    "Add {a} and {b}. What is the total?",
  ),
  "-": (
    "What is {a} minus {b}?",
    "What is {a} take away {b}?",
    "What is the difference between {a} and {b}?",
    "What do you get when you subtract {b} from {a}?",
    "How much is {a} less {b}?",
    "Take {b} away from {a}. What is left?",
  ),
  "*": (
    "What is {a} times {b}?",
    "What is {a} multiplied by {b}?",
    "What is the product of {a} and {b}?",
    "What do you get when you multiply {a} by {b}?",
    "How much is {a} times {b}?",
    "Multiply {a} by {b}. What is the result?",
  ),
}
_EXAMPLES = (("7+4", "What is seven plus four?"), ("3*9", "What is the product of three and nine?"))


def examples() -> list[dict[str, Any]]:
  """Returns two worked examples in the required form, for `prompt.examples`."""
  rows = []
  for expression, question in _EXAMPLES:
    operation, (a, b) = _parts(expression)
    work = f"{a} {operation} {b} = {evaluate(expression)}."
    answer = f"<answer> \\boxed{{{evaluate(expression)}}} </answer>"
    rows.append({"question": question, "response": f" {work} </think> {answer}"})
  return rows


def train_problems() -> tuple[Problem, ...]:
  """Returns the training problems, as a data source for a config."""
  return problems("train", TRAIN_ROWS, seed=0)


def heldout_problems() -> tuple[Problem, ...]:
  """Returns the held-out problems, as a data source for a config."""
  return problems("heldout", HELDOUT_ROWS, seed=0)


def problems(split: Split, size: int, seed: int) -> tuple[Problem, ...]:
  """Draws different questions. The operations alternate until one runs out.

  `seed` decides which questions are drawn, but not which split an expression belongs to.

  Raises:
    InputError: an unknown split, or a size that the split does not have.
  """
  if split not in ("train", "heldout"):
    raise InputError(f"split {split!r}: expected train or heldout")
  questions = _questions(split)
  most = sum(map(len, questions))
  if not 0 < size <= most:
    raise InputError(f"size {size} of the {split} split: expected 1 to {most}")
  rng = np.random.default_rng([seed, split == "heldout"])
  shuffled = [[of_operation[i] for i in rng.permutation(len(of_operation))] for of_operation in questions]
  turns = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
  return tuple(itertools.islice((problem for problem in turns if problem is not None), size))


@functools.cache
def _questions(split: Split) -> tuple[tuple[Problem, ...], ...]:
  """Returns every question of a split, for each operation."""
  pairs = [(a, b) for a in OPERANDS for b in OPERANDS if _split_of(a, b) == split]
  return tuple(
    tuple(
      _problem(f"{a}{operation}{b}", number, wording)
      for a, b in pairs
      if operation != "-" or a > b
      for number, wording in enumerate(wordings)
    )
    for operation, wordings in _WORDINGS.items()
  )


def _problem(expression: str, number: int, wording: str) -> Problem:
  _, (a, b) = _parts(expression)
  return Problem(
    id=f"{ID_PREFIX}{expression}/{number}",
    domain="math",
    question=wording.format(a=number_words(a), b=number_words(b)),
    answer=str(evaluate(expression)),
    source="word arithmetic",
  )


def _split_of(a: int, b: int) -> Split | None:
  """Returns the split of a pair of operands: half of the pairs are held out. None: an example uses the pair."""
  pair = min(a, b), max(a, b)
  if pair in {tuple(sorted(_parts(expression)[1])) for expression, _ in _EXAMPLES}:
    return None
  return "heldout" if hashlib.sha256(repr(pair).encode()).digest()[0] % 2 else "train"


def _parts(expression: str) -> tuple[str, tuple[int, int]]:
  """Returns the operation and the operands of an expression."""
  operation = next(mark for mark in _WORDINGS if mark in expression)
  a, b = map(int, expression.split(operation))
  return operation, (a, b)
