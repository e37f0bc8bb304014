"""Completions of the arithmetic task for the warm-up of a base model.

The traces are imperfect on purpose. Some work the answer out. More of them guess, slip or break the required form, so
that reinforcement learning has something to improve.
"""

import ast
import dataclasses
import functools
import itertools
from collections.abc import Callable

import numpy as np

from srpo_jax.data.toy.arithmetic import expression_of
from srpo_jax.data.toy.expression import APPLY, evaluate, number_of, parse, split_node
from srpo_jax.data.toy.wording import choice
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError


@dataclasses.dataclass(frozen=True)
class TraceMix:
  """Relative weights of the four kinds of warm-up completions, and the quality of guesses."""

  worked: float = 0.26  # correct, step by step
  guess: float = 0.58  # an answer without work
  slip: float = 0.08  # worked with one wrong digit, which carries over to the answer
  malformed: float = 0.08  # breaks the required form
  guess_right: float = 0.25  # probability that a guess is right


THINK_END, ANSWER, BOX, BOX_END, ANSWER_END = " </think>", " <answer>", "\\boxed{", "}", "</answer>"
# Every guess opens with HASTY. In the default mix it is the likeliest first token, so a base model guesses when greedy.
HASTY = " easy."
# Texts that the tokenizer makes one token each.
TRACE_PIECES = (
  *(THINK_END + ANSWER + BOX, THINK_END + ANSWER, ANSWER + BOX, BOX_END + ANSWER_END, ANSWER_END),
  *(HASTY, ": ", ", "),
)
Note = Callable[[int], int]


def trace(problem: Problem | str, rng: np.random.Generator, mix: TraceMix = TraceMix()) -> str:
  """Draws a completion, which is the text between the prompt's `<think>` and the EOS.

  A worked trace is `37+45: 7+5=12, 3+4+1=8 </think> <answer>\\boxed{82}</answer>`. An inner operation is first replaced
  by its result, as in `6*7+25: 42+25: 2+5=7, 4+2=6`. A result in a table of single digits takes one step: `7+5=12`.

  Raises:
    InputError: an expression with a shape or size that `problems` does not make, or a mix with invalid values.
  """
  expression = expression_of(problem)
  weights = np.array([mix.worked, mix.guess, mix.slip, mix.malformed])
  if (weights < 0).any() or not weights.sum() > 0:
    raise InputError(f"trace mix {mix}: expected weights of 0 or more, at least one above 0")
  if not 0 <= mix.guess_right <= 1:
    raise InputError(f"trace mix {mix}: expected guess_right from 0 to 1")
  right = mix.guess_right
  writers = (worked, functools.partial(guess, right=right), slip, functools.partial(malformed, right=right))
  return writers[rng.choice(len(writers), p=weights / weights.sum())](expression, rng)


def worked(expression: str, rng: np.random.Generator | None = None) -> str:
  """Returns the trace that works the answer out in the required form. There is only one, so `rng` is not used."""
  return _well_formed(*_work(parse(expression), lambda result: result))


def guess(expression: str, rng: np.random.Generator, right: float = TraceMix.guess_right) -> str:
  """Draws a trace without work in the required form. It is right with probability `right` and else a near miss."""
  return _well_formed(*_guess(expression, rng, right))


def slip(expression: str, rng: np.random.Generator) -> str:
  """Draws a worked trace in which the last digit of one step is wrong. Later steps and the answer follow from it."""
  return _well_formed(*_slip(expression, rng))


def malformed(expression: str, rng: np.random.Generator, right: float = TraceMix.guess_right) -> str:
  """Draws a trace in one of four wrong forms. Its content is worked or a guess with probability 1/2 each."""
  work = rng.random() < 0.5
  body, answer = _work(parse(expression), lambda result: result) if work else _guess(expression, rng, right)
  boxed = f"{ANSWER}{BOX}{answer}{BOX_END}{ANSWER_END}"
  return choice(
    (
      f"{body}{THINK_END}{ANSWER}{answer}{ANSWER_END}",
      f"{body}{boxed}",
      f"{body}{THINK_END}{boxed}{boxed}",
      f"{body}{THINK_END}{boxed.removesuffix(BOX_END + ANSWER_END)}",
    ),
    rng,
  )


def _well_formed(body: str, answer: int) -> str:
  return f"{body}{THINK_END}{ANSWER}{BOX}{answer}{BOX_END}{ANSWER_END}"


def _guess(expression: str, rng: np.random.Generator, right: float) -> tuple[str, int]:
  value = evaluate(expression)
  if rng.random() >= right:
    value += int(rng.choice([offset for offset in (-10, -2, -1, 1, 2, 10) if value + offset >= 0]))
  return HASTY, value


def _slip(expression: str, rng: np.random.Generator) -> tuple[str, int]:
  node = parse(expression)
  n_steps = _count_steps(node)
  while True:
    body, answer = _work(node, _wrong_once(int(rng.integers(n_steps)), int(rng.integers(1, 10))))
    # A wrong first result can be smaller than the number subtracted from it. Then draw another slip.
    if answer >= 0:
      return body, answer


def _count_steps(node: ast.expr) -> int:
  results: list[int] = []

  def note(result: int) -> int:
    results.append(result)
    return result

  _work(node, note)
  return len(results)


def _wrong_once(step: int, shift: int) -> Note:
  """Returns a function that shifts the last digit of one step's result and passes the other results on unchanged."""
  steps = itertools.count()
  return lambda result: result // 10 * 10 + (result + shift) % 10 if next(steps) == step else result


def _work(node: ast.expr, note: Note) -> tuple[str, int]:
  """Returns the steps of a worked trace and their answer. The result of every step passes through `note`."""
  parts = split_node(node)
  if parts is None:
    raise InputError(f"expression {ast.unparse(node)!r}: expected one or two operations")
  left, op, right = parts
  inner = split_node(left)
  if inner is None:
    return _one_operation(number_of(left), op, _operand(right), note)
  a, inner_op, b = _operand(inner[0]), inner[1], _operand(inner[2])
  if not _is_fact(a, inner_op, b):
    raise InputError(f"expression {ast.unparse(node)!r}: expected single digits in the inner operation")
  first = f"({a}{inner_op}{b})" if op == "*" else f"{a}{inner_op}{b}"
  text, answer = _one_operation(note(APPLY[inner_op](a, b)), op, _operand(right), note)
  return f"{first}{op}{_operand(right)}: {text}", answer


def _operand(node: ast.expr) -> int:
  if isinstance(node, ast.BinOp):
    raise InputError(f"expression {ast.unparse(node)!r}: expected a number")
  return number_of(node)


def _is_fact(a: int, op: str, b: int) -> bool:
  """Returns True if the result is in a table of single digits and of differences up to 18-9."""
  return b < 10 and (0 <= a - b < 10 and a < 19 if op == "-" else a < 10)


def _one_operation(a: int, op: str, b: int, note: Note) -> tuple[str, int]:
  if _is_fact(a, op, b):
    result = note(APPLY[op](a, b))
    return f"{a}{op}{b}={result}", result
  if a > 99 or b > (9 if op == "*" else 99):
    raise InputError(f"{a}{op}{b}: expected operands of at most two digits, and a second factor of one digit")
  steps, answer = {"+": _add, "-": _subtract, "*": _multiply}[op](a, b, note)
  return f"{a}{op}{b}: {', '.join(steps)}", answer


def _add(a: int, b: int, note: Note) -> tuple[list[str], int]:
  units = note(a % 10 + b % 10)
  carry = units // 10
  tens = note(a // 10 + b // 10 + carry)
  steps = [f"{a % 10}+{b % 10}={units}", f"{a // 10}+{b // 10}{'+1' if carry else ''}={tens}"]
  return steps, tens * 10 + units % 10


def _subtract(a: int, b: int, note: Note) -> tuple[list[str], int]:
  borrow = a % 10 < b % 10
  units = note(a % 10 + 10 * borrow - b % 10)
  tens = note(a // 10 - b // 10 - borrow)
  steps = [
    f"{a % 10 + 10 * borrow}-{b % 10}={units}",
    f"{a // 10}-{b // 10}{'-1' if borrow else ''}={tens}",
  ]
  return steps, tens * 10 + units


def _multiply(a: int, b: int, note: Note) -> tuple[list[str], int]:
  units = note(a % 10 * b)
  tens = note(a // 10 * b)
  steps = [f"{a % 10}*{b}={units}", f"{a // 10}*{b}={tens}"]
  carry = units // 10
  if carry:
    total = note(tens + carry)
    steps.append(f"{tens}+{carry}={total}")
    tens = total
  return steps, tens * 10 + units % 10
