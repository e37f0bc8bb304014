"""A toy task for a model of a few hundred thousand parameters: arithmetic in digits and in words.

`problems` makes the questions, `trace` writes completions to warm a base model up on. The traces are imperfect on
purpose: some work the answer out, more of them guess, slip, or break the form, so that reinforcement learning has
something to find.

An expression is text such as `37+45`, `23*4` or `(3+4)*8`: one operation, or two with the inner one done first.
"""

import ast
import dataclasses
import functools
import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

Split = Literal["train", "heldout"]

DIFFICULTIES = ("easy", "medium", "hard")
HELDOUT_PERCENT = 30
ID_PREFIX = "arithmetic/"

_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
_APPLY: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


# Expressions


def evaluate(expression: str) -> int:
  """The value of an expression."""
  return _evaluate(_parse(expression))


def canonical(expression: str) -> str:
  """A key that two expressions share when only the order of terms or factors tells them apart.

  >>> canonical("45+37-26") == canonical("37-26+45"), canonical("8*(4+3)"), canonical("45-37") == canonical("37-45")
  (True, '(+3+4)*8', False)
  """
  return _canonical(_parse(expression))


def split_of(expression: str) -> Split:
  """Which split an expression belongs to: a hash of its canonical key decides, so no seed or size can move it."""
  digest = hashlib.sha256(canonical(expression).encode()).digest()
  return "heldout" if int.from_bytes(digest[:8], "big") % 100 < HELDOUT_PERCENT else "train"


def expression_of(problem: Problem | str) -> str:
  """The expression of one of `problems`' own problems; an expression is returned as it is."""
  if isinstance(problem, str):
    return problem
  if not problem.id.startswith(ID_PREFIX):
    raise InputError(f"problem {problem.id!r}: expected an id of {ID_PREFIX}EXPRESSION")
  return problem.id.removeprefix(ID_PREFIX)


def _parse(expression: str) -> ast.expr:
  try:
    node = ast.parse(expression, mode="eval").body
  except SyntaxError as error:
    raise InputError(f"expression {expression!r}: expected whole numbers, + - * and brackets") from error
  for part in ast.walk(node):
    if isinstance(part, ast.BinOp) and type(part.op) in _OPERATORS:
      continue
    if isinstance(part, ast.Constant) and type(part.value) is int:
      continue
    if not isinstance(part, ast.operator):
      raise InputError(f"expression {expression!r}: expected whole numbers, + - * and brackets")
  return node


def _split_node(node: ast.expr) -> tuple[ast.expr, str, ast.expr] | None:
  return (node.left, _OPERATORS[type(node.op)], node.right) if isinstance(node, ast.BinOp) else None


def _number(node: ast.expr) -> int:
  assert isinstance(node, ast.Constant) and isinstance(node.value, int)
  return node.value


def _evaluate(node: ast.expr) -> int:
  parts = _split_node(node)
  return _number(node) if parts is None else _APPLY[parts[1]](_evaluate(parts[0]), _evaluate(parts[2]))


def _canonical(node: ast.expr) -> str:
  parts = _split_node(node)
  if parts is None:
    return str(_number(node))
  if parts[1] == "*":
    return "*".join(sorted(_factors(node)))
  return "(" + "".join(sorted(_terms(node, "+"))) + ")"


def _terms(node: ast.expr, sign: str) -> list[str]:
  parts = _split_node(node)
  if parts is None or parts[1] == "*":
    return [sign + _canonical(node)]
  other = {"+": "-", "-": "+"}[sign] if parts[1] == "-" else sign
  return _terms(parts[0], sign) + _terms(parts[2], other)


def _factors(node: ast.expr) -> list[str]:
  parts = _split_node(node)
  if parts is None or parts[1] != "*":
    return [_canonical(node)]
  return _factors(parts[0]) + _factors(parts[2])


# Problems


def problems(split: Split, size: int, seed: int) -> tuple[Problem, ...]:
  """Draws problems with distinct canonical expressions, as many of each difficulty (to within one).

  Within a difficulty the kinds of expression take turns for as long as they last. `seed` decides which expressions
  are drawn and how they are worded; never which split an expression is in.

  Raises:
    InputError: an unknown split, or more problems than a difficulty has expressions for.
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
  """The most problems of a split, the difficulties being balanced."""
  return len(DIFFICULTIES) * min(sum(map(len, kinds)) for kinds in _kinds(split).values())


def train_problems() -> tuple[Problem, ...]:
  """Every training problem, the difficulties taking turns: a data source for a config."""
  return problems("train", capacity("train"), seed=0)


def heldout_problems() -> tuple[Problem, ...]:
  """Every held-out problem, the difficulties taking turns: a data source for a config."""
  return problems("heldout", capacity("heldout"), seed=0)


def _problem(expression: str, difficulty: str, rng: np.random.Generator) -> Problem:
  expression = _turned(expression, rng)
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
  """All expressions of a split, one tuple a kind; one spelling of each canonical key."""
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


def _turned(expression: str, rng: np.random.Generator) -> str:
  """Swaps the operands of a sum of equally long numbers, or of a product of digits, half of the time."""
  parts = _split_node(_parse(expression))
  assert parts is not None
  left, op, right = (ast.unparse(parts[0]), parts[1], ast.unparse(parts[2]))
  return f"{right}{op}{left}" if op != "-" and len(left) == len(right) and rng.random() < 0.5 else expression


# Wording

_UNITS = (
  *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
  *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBER_WORDS = (*_UNITS, *_TENS)

# What a model should see as one piece each; the tokenizer is built from them.
QUESTION_PIECES = (
  *("What is ", "Compute ", "Add ", "Subtract ", "Multiply "),
  *(" plus ", " minus ", " times ", " and ", " from ", " by "),
  *(", then add ", ", then subtract ", ", then multiply by ", " + ", " - ", " * "),
)

_WORDINGS = {
  "a+b": ("What is {a} plus {b}?", "Compute {a} plus {b}.", "Add {a} and {b}."),
  "a-b": ("What is {a} minus {b}?", "Compute {a} minus {b}.", "Subtract {b} from {a}."),
  "a*b": ("What is {a} times {b}?", "Compute {a} times {b}.", "Multiply {a} by {b}."),
  "a*b+c": ("What is {a} times {b} plus {c}?", "Multiply {a} by {b}, then add {c}."),
  "a*b-c": ("What is {a} times {b} minus {c}?", "Multiply {a} by {b}, then subtract {c}."),
  "(a+b)*c": ("Add {a} and {b}, then multiply by {c}.",),
  "(a-b)*c": ("Subtract {b} from {a}, then multiply by {c}.",),
  "a+b-c": ("What is {a} plus {b} minus {c}?", "Add {a} and {b}, then subtract {c}."),
}
_SYMBOLIC = ("What is {}?", "Compute {}.")


def phrase(expression: str, rng: np.random.Generator) -> str:
  """Words an expression as a question: in symbols, in words with digits, or in words throughout, a third each."""
  numbers = [str(_number(node)) for node in _numbers(_parse(expression))]
  shape = expression
  for name, number in zip("abc", numbers, strict=False):
    shape = shape.replace(number, name, 1)
  if shape not in _WORDINGS:
    raise InputError(f"expression {expression!r}: expected one of the shapes {', '.join(_WORDINGS)}")
  style = rng.integers(3)
  if style == 0:
    spaced = "".join(f" {mark} " if mark in "+-*" else mark for mark in expression)
    return _choice(_SYMBOLIC, rng).format(spaced)
  spelled = numbers if style == 1 else [number_words(int(number)) for number in numbers]
  return _choice(_WORDINGS[shape], rng).format(**dict(zip("abc", spelled, strict=False)))


def number_words(number: int) -> str:
  """A number from 0 to 99 in English: 37 is thirty-seven."""
  if number < 20:
    return _UNITS[number]
  tens, unit = divmod(number, 10)
  return _TENS[tens - 2] + (f"-{_UNITS[unit]}" if unit else "")


def _numbers(node: ast.expr) -> list[ast.expr]:
  parts = _split_node(node)
  return [node] if parts is None else _numbers(parts[0]) + _numbers(parts[2])


def _choice(options: Sequence[str], rng: np.random.Generator) -> str:
  return options[int(rng.integers(len(options)))]


# Traces


@dataclasses.dataclass(frozen=True)
class TraceMix:
  """How the warm-up completions are mixed; the four weights are relative."""

  worked: float = 0.26  # right, step by step
  guess: float = 0.58  # an answer without work
  slip: float = 0.08  # worked, with one digit wrong, carried on to the answer
  malformed: float = 0.08  # breaks the required form
  guess_right: float = 0.25  # the chance that a guess is right


THINK_END, ANSWER, BOX, BOX_END, ANSWER_END = " </think>", " <answer>", "\\boxed{", "}", "</answer>"
# One opening for every guess: with the default mix it is the likeliest first token, so a base decodes guesses greedily.
HASTY = " easy."

# What a model should write as one token each; the tokenizer is built from them.
TRACE_PIECES = (
  *(THINK_END + ANSWER + BOX, THINK_END + ANSWER, ANSWER + BOX, BOX_END + ANSWER_END, ANSWER_END),
  *(HASTY, ": ", ", "),
)

Note = Callable[[int], int]


def trace(problem: Problem | str, rng: np.random.Generator, mix: TraceMix = TraceMix()) -> str:
  """Draws a completion: what follows the prompt's `<think>`, up to but not including the EOS.

  Worked: `37+45: 7+5=12, 3+4+1=8 </think> <answer>\\boxed{82}</answer>`. An inner operation is first replaced by its
  result: `6*7+25: 42+25: 2+5=7, 4+2=6`. What a table of single digits holds takes one step: `7+5=12`.

  Raises:
    InputError: an expression of another shape or size than `problems` makes.
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
  """A trace that works the answer out, in the required form. It is the only one: `rng` is not used."""
  return _well_formed(*_work(_parse(expression), lambda result: result))


def guess(expression: str, rng: np.random.Generator, right: float = TraceMix.guess_right) -> str:
  """A trace without work: the right answer with probability `right`, else a near miss, in the required form."""
  return _well_formed(*_guess(expression, rng, right))


def slip(expression: str, rng: np.random.Generator) -> str:
  """A worked trace in which one step's last digit is wrong; the steps after it and the answer follow from it."""
  return _well_formed(*_slip(expression, rng))


def malformed(expression: str, rng: np.random.Generator, right: float = TraceMix.guess_right) -> str:
  """Work or a guess, half of the time each, in one of four wrong forms."""
  work = rng.random() < 0.5
  body, answer = _work(_parse(expression), lambda result: result) if work else _guess(expression, rng, right)
  boxed = f"{ANSWER}{BOX}{answer}{BOX_END}{ANSWER_END}"
  return _choice(
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
  node = _parse(expression)
  n_steps = _count_steps(node)
  while True:
    body, answer = _work(node, _wrong_once(int(rng.integers(n_steps)), int(rng.integers(1, 10))))
    # A wrong first result can be smaller than what is then taken from it: draw another slip.
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
  """Passes every result on but that of one step, whose last digit it shifts."""
  steps = itertools.count()
  return lambda result: result // 10 * 10 + (result + shift) % 10 if next(steps) == step else result


def _work(node: ast.expr, note: Note) -> tuple[str, int]:
  """The steps of a worked trace and the answer that they lead to; every step's result passes through `note`."""
  parts = _split_node(node)
  if parts is None:
    raise InputError(f"expression {ast.unparse(node)!r}: expected one or two operations")
  left, op, right = parts
  inner = _split_node(left)
  if inner is None:
    return _one_operation(_number(left), op, _operand(right), note)
  a, inner_op, b = _operand(inner[0]), inner[1], _operand(inner[2])
  if not _is_fact(a, inner_op, b):
    raise InputError(f"expression {ast.unparse(node)!r}: expected single digits in the inner operation")
  first = f"({a}{inner_op}{b})" if op == "*" else f"{a}{inner_op}{b}"
  text, answer = _one_operation(note(_APPLY[inner_op](a, b)), op, _operand(right), note)
  return f"{first}{op}{_operand(right)}: {text}", answer


def _operand(node: ast.expr) -> int:
  if isinstance(node, ast.BinOp):
    raise InputError(f"expression {ast.unparse(node)!r}: expected a number in its place")
  return _number(node)


def _is_fact(a: int, op: str, b: int) -> bool:
  """Whether a table of single digits, and of differences up to 18-9, holds the result."""
  return b < 10 and (0 <= a - b < 10 and a < 19 if op == "-" else a < 10)


def _one_operation(a: int, op: str, b: int, note: Note) -> tuple[str, int]:
  if _is_fact(a, op, b):
    result = note(_APPLY[op](a, b))
    return f"{a}{op}{b}={result}", result
  if a > 99 or b > (9 if op == "*" else 99):
    raise InputError(f"{a}{op}{b}: expected operands of at most two digits, the second factor of one")
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
