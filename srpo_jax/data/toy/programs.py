"""A toy code task for a model with a few hundred thousand parameters: one-line functions with tests as in MBPP.

    Write f(x): multiply x by 3, then add 4.        assert f(2) == 10 ...

`problems` makes the questions. `trace` writes the completions for the warm-up of a base model, imperfect on purpose.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np

from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

Split = Literal["train", "heldout"]

ID_PREFIX = "function/"
HELDOUT_PERCENT = 30
TEST_INPUTS = (0, 1, 2, 5, 10, 13)  # any two functions of `_all` differ on at least one of these

_APPLY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
_WORDS = {"+": "add {}", "-": "subtract {}", "*": "multiply by {}"}

Steps = tuple[tuple[str, int], ...]  # (operator, number), applied in order

# Texts that the tokenizer makes one token each.
FENCE, HEAD, FENCE_END = "```python\n", "def f(x):\n    return ", "\n```"
HASTY = " sure."  # opening of a completion without thought
PIECES = (HASTY, "Write f(x): start from x, ", "add ", "subtract ", "multiply by ", FENCE, HEAD, FENCE_END)


@dataclasses.dataclass(frozen=True)
class TraceMix:
  """Relative weights of the four kinds of warm-up completions."""

  right: float = 0.22
  hasty: float = 0.58  # only the first step, which is right if there is no second
  slip: float = 0.12  # one operator or number is wrong
  malformed: float = 0.08  # right, but without the fence


def problems(split: Split, size: int, seed: int) -> tuple[Problem, ...]:
  """Draws problems with distinct functions. Functions of one step and of two alternate until one kind runs out.

  Raises:
    InputError: an unknown split, a size below 1, or a size above `capacity(split)`.
  """
  if split not in ("train", "heldout"):
    raise InputError(f"split {split!r}: expected train or heldout")
  rng = np.random.default_rng([seed, split == "heldout"])
  kinds = [[steps for steps in _all(n) if split_of(steps) == split] for n in (1, 2)]
  shuffled = [[kind[i] for i in rng.permutation(len(kind))] for kind in kinds]
  drawn = [steps for pair in itertools.zip_longest(*shuffled) for steps in pair if steps is not None]
  if not 0 < size <= len(drawn):
    raise InputError(f"size {size} of the synthetic code {split} split: expected 1 to {len(drawn)}")
  return tuple(_problem(steps) for steps in drawn[:size])


def capacity(split: Split) -> int:
  """Returns the number of problems in a split."""
  return sum(split_of(steps) == split for n in (1, 2) for steps in _all(n))


def train_programs() -> tuple[Problem, ...]:
  """Returns every training problem, as a data source for a config."""
  return problems("train", capacity("train"), seed=0)


def heldout_programs() -> tuple[Problem, ...]:
  """Returns every held-out problem, as a data source for a config."""
  return problems("heldout", capacity("heldout"), seed=0)


def split_of(steps: Steps) -> Split:
  """Returns the split of a function. It depends only on a hash of the function, never on a seed or size."""
  digest = hashlib.sha256(expression(steps).encode()).digest()
  return "heldout" if int.from_bytes(digest[:8], "big") % 100 < HELDOUT_PERCENT else "train"


def expression(steps: Steps) -> str:
  """Returns the Python expression of the function's value, such as `(x + 3) * 4`."""
  text = "x"
  for place, (operator, number) in enumerate(steps):
    text = f"({text}) {operator} {number}" if operator == "*" and place else f"{text} {operator} {number}"
  return text.replace("(x)", "x")


def trace(problem: Problem, rng: np.random.Generator, mix: TraceMix = TraceMix()) -> str:
  """Draws a completion, which is the text between the prompt's `<think>` and the EOS.

  Raises:
    InputError: a problem that `problems` did not make, a negative weight, or weights that are all 0.
  """
  steps = _steps_of(problem)
  weights = np.array([mix.right, mix.hasty, mix.slip, mix.malformed])
  if (weights < 0).any() or not weights.sum() > 0:
    raise InputError(f"trace mix {mix}: expected weights of 0 or more, at least one above 0")
  kind = ("right", "hasty", "slip", "malformed")[rng.choice(4, p=weights / weights.sum())]
  stated = expression({"hasty": steps[:1], "slip": _slipped(steps, rng)}.get(kind, steps))
  program = HEAD + stated
  body = program if kind == "malformed" else FENCE + program + FENCE_END
  return f"{HASTY if kind == 'hasty' else ' ' + stated} </think> <answer>{body}</answer>"


def _slipped(steps: Steps, rng: np.random.Generator) -> Steps:
  place = int(rng.integers(len(steps)))
  operator, number = steps[place]
  if rng.random() < 0.5:
    operator = str(rng.choice([other for other in _APPLY if other != operator]))
  else:
    number += int(rng.choice([-1, 1]))
  return (*steps[:place], (operator, number), *steps[place + 1 :])


def _all(count: int) -> Iterator[Steps]:
  """Yields all functions with `count` steps. No function appears twice: `x + 2 + 3` is `x + 5`, which has one step."""
  if count == 1:
    yield from (((operator, number),) for operator in "+-" for number in range(2, 61))
    yield from ((("*", number),) for number in range(2, 31))
    return
  for operator, a, b in itertools.product("+-", range(2, 14), range(2, 14)):
    yield (("*", a), (operator, b)) if b % a else (("*", a), (operator, b + 10 * a + 1))
    yield ((operator, b), ("*", a))


def _problem(steps: Steps) -> Problem:
  words = ", then ".join(_WORDS[operator].format(number) for operator, number in steps)
  question = f"Write f(x): start from x, {words}."
  cases = [f"assert f({x}) == {_value(steps, x)}" for x in TEST_INPUTS]
  return Problem(
    id=ID_PREFIX + ",".join(f"{operator}{number}" for operator, number in steps),
    domain="code",
    question=question,
    tests={"type": "assert", "cases": cases, "functions": ["f"]},
    difficulty="easy" if len(steps) == 1 else "medium",
    source="synthetic",
  )


def _value(steps: Steps, x: int) -> int:
  for operator, number in steps:
    x = _APPLY[operator](x, number)
  return x


def _steps_of(problem: Problem) -> Steps:
  if not problem.id.startswith(ID_PREFIX):
    raise InputError(f"problem {problem.id!r}: expected an id of {ID_PREFIX}STEPS")
  return tuple((part[0], int(part[1:])) for part in problem.id.removeprefix(ID_PREFIX).split(","))
