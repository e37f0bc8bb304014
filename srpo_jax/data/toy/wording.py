"""Questions of the arithmetic task, worded in symbols, digits and words."""

from collections.abc import Sequence

import numpy as np

from srpo_jax.data.toy.expression import number_of, numbers_of, parse
from srpo_jax.utils.errors import InputError

_UNITS = (
  *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
  *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBER_WORDS = (*_UNITS, *_TENS)
# Texts that the tokenizer makes one token each.
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
  """Words an expression as a question.

  The question is in symbols, in words with digits, or in words only, with probability 1/3 each.

  Raises:
    InputError: an expression with an unknown shape.
  """
  numbers = [str(number_of(node)) for node in numbers_of(parse(expression))]
  shape = expression
  for name, number in zip("abc", numbers, strict=False):
    shape = shape.replace(number, name, 1)
  if shape not in _WORDINGS:
    raise InputError(f"expression {expression!r}: expected one of the shapes {', '.join(_WORDINGS)}")
  style = rng.integers(3)
  if style == 0:
    spaced = "".join(f" {mark} " if mark in "+-*" else mark for mark in expression)
    return choice(_SYMBOLIC, rng).format(spaced)
  spelled = numbers if style == 1 else [number_words(int(number)) for number in numbers]
  return choice(_WORDINGS[shape], rng).format(**dict(zip("abc", spelled, strict=False)))


def number_words(number: int) -> str:
  """Returns a number from 0 to 99 in English words: 37 is thirty-seven."""
  if number < 20:
    return _UNITS[number]
  tens, unit = divmod(number, 10)
  return _TENS[tens - 2] + (f"-{_UNITS[unit]}" if unit else "")


def choice(options: Sequence[str], rng: np.random.Generator) -> str:
  return options[int(rng.integers(len(options)))]
