"""Problems of a toy task for a model with a few hundred thousand parameters: arithmetic in digits and in words.

`expression` defines the expressions, `wording` writes the questions, and `arithmetic_traces` writes the completions
for the warm-up of a base model.
"""

import ast
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from srpo_jax.data.toy.expression import Split, evaluate, parse, split_node, split_of
from srpo_jax.data.toy.wording import phrase
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

DIFFICULTIES = ("easy", "medium", "hard")
ID_PREFIX = "arithmetic/"


def expression_of(problem: Problem | str) -> str:
  """Returns the expression of a problem made by `problems`. An expression given as text is returned unchanged.

  Raises:
    InputError: an id that `problems` does not make.
  """
  if isinstance(problem, str):
    return problem
  if not problem.id.startswith(ID_PREFIX):
    raise InputError(f"problem {problem.id!r}: expected an id of {ID_PREFIX}EXPRESSION")
  return problem.id.removeprefix(ID_PREFIX)


def problems(split: Split, size: int, seed: int) -> tuple[Problem, ...]:
  """Draws problems with distinct canonical expressions. The counts of the difficulties differ by at most one.

  Within a difficulty the kinds of expression alternate until each runs out. `seed` decides which expressions are drawn
  and how they are worded. It does not affect which split an expression belongs to.

  Raises:
    InputError: an unknown split, a size below 1, or a size above `capacity(split)`.
  """
  if split not in ("train", "heldout"):
    raise InputError(f"split {split!r}: expected train or heldout")
  rng = np.random.default_rng([seed, split == "heldout"])
  pools = [_take_turns([_shuffled(kind, rng) for kind in _kinds(split)[level]]) for level in DIFFICULTIES]
  most = capacity(split)
  if not 0 < size <= most:
    raise InputError(f"size {size} of the synthetic {split} split: expected 1 to {most}")
  drawn = [(DIFFICULTIES[i % len(pools)], pools[i % len(pools)][i // len(pools)]) for i in range(size)]
  return tuple(_problem(expression, level, rng) for level, expression in drawn)


def capacity(split: Split) -> int:
  """Returns the largest number of problems in a split with balanced difficulties."""
  return len(DIFFICULTIES) * min(sum(map(len, kinds)) for kinds in _kinds(split).values())


def train_problems() -> tuple[Problem, ...]:
  """Returns `capacity("train")` training problems with alternating difficulties, as a data source for a config."""
  return problems("train", capacity("train"), seed=0)


def heldout_problems() -> tuple[Problem, ...]:
  """Returns `capacity("heldout")` held-out problems with alternating difficulties, as a data source for a config."""
  return problems("heldout", capacity("heldout"), seed=0)


def _problem(expression: str, difficulty: str, rng: np.random.Generator) -> Problem:
  expression = _maybe_swapped(expression, rng)
  return Problem(
    id=ID_PREFIX + expression,
    domain="math",
    question=phrase(expression, rng),
    answer=str(evaluate(expression)),
    difficulty=difficulty,
    source="synthetic",
  )


@functools.cache
def _kinds(split: Split) -> dict[str, tuple[tuple[str, ...], ...]]:
  """Returns difficulty -> kinds of a split, each a tuple of expressions. Each canonical key has one spelling."""
  return {
    level: tuple(tuple(expression for expression in kind if split_of(expression) == split) for kind in kinds)
    for level, kinds in zip(DIFFICULTIES, _all_kinds(), strict=True)
  }


def _all_kinds() -> tuple[tuple[Iterator[str], ...], ...]:
  digits, factors, tens = range(1, 10), range(2, 10), range(10, 100)
  pairs = [(a, b) for a in factors for b in factors if a <= b]
  easy = (
    (f"{a}+{b}" for a in digits for b in digits if a <= b),
    (f"{a}-{b}" for a in digits for b in digits if a > b),
    (f"{a}*{b}" for a, b in pairs),
    (f"{a}+{b}" for a in tens for b in digits),
    (f"{a}-{b}" for a in tens for b in digits),
  )
  medium = (
    (f"{a}+{b}" for a in tens for b in tens if a <= b),
    (f"{a}-{b}" for a in tens for b in tens if a > b),
    (f"{a}*{b}" for a in tens for b in factors),
  )
  hard = (
    (f"{a}*{b}+{c}" for a, b in pairs for c in tens),
    (f"{a}*{b}-{c}" for a, b in pairs for c in tens if a * b > c),
    (f"({a}+{b})*{c}" for a, b in pairs for c in factors),
    (f"({a}-{b})*{c}" for a in range(3, 19) for b in digits if 1 < a - b < 10 for c in factors),
    (f"{a}+{b}-{c}" for a, b in pairs for c in digits if a + b > c and c not in (a, b)),
  )
  return easy, medium, hard


def _shuffled(kind: Sequence[str], rng: np.random.Generator) -> list[str]:
  return [kind[i] for i in rng.permutation(len(kind))]


def _take_turns(kinds: Iterable[Sequence[str]]) -> list[str]:
  rounds = itertools.zip_longest(*kinds)
  return [expression for turn in rounds for expression in turn if expression is not None]


def _maybe_swapped(expression: str, rng: np.random.Generator) -> str:
  """Swaps the operands of a sum or product with probability 1/2 if both are equally long."""
  parts = split_node(parse(expression))
  assert parts is not None
  left, op, right = (ast.unparse(parts[0]), parts[1], ast.unparse(parts[2]))
  return f"{right}{op}{left}" if op != "-" and len(left) == len(right) and rng.random() < 0.5 else expression
