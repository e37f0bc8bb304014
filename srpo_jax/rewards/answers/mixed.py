"""Reads the fraction of a mixed number."""

from collections.abc import Sequence
from fractions import Fraction

from srpo_jax.rewards.answers.latex import Token


def mixed_fraction(found: Sequence[Token], start: int) -> tuple[Fraction, int] | None:
  r"""Reads the fraction of a mixed number, `2\frac{1}{3}` or `2 1/3`. It must consist of digits.

  Args:
    found: the tokens.
    start: index of the token after the whole number.

  Returns:
    The fraction and the index of the token after it, or None if there is no such fraction.
  """
  group = found[start : start + 3]
  if not group:
    return None
  if group[0].text == "\\frac":
    top, index, digit = _digits(found, start + 1, 0)
    bottom, index, digit = _digits(found, index, digit)
    if digit:
      return None
  elif len(group) == 3 and group[0].gap and group[1].text == "/" and _is_whole(group[0]) and _is_whole(group[2]):
    top, bottom, index = int(group[0].text), int(group[2].text), start + 3
  else:
    return None
  return (Fraction(top, bottom), index) if top and bottom else None


def _digits(found: Sequence[Token], index: int, digit: int) -> tuple[int | None, int, int]:
  """Reads a whole number as the argument of a command, from token `index` and digit `digit` of that token.

  Returns:
    The number, or None if the argument is something else, and the token and the digit at which the next argument
    begins.
  """
  group = found[index : index + 3]
  if not group:
    return None, index, 0
  if _is_whole(group[0]):
    last = digit + 1 == len(group[0].text)
    return int(group[0].text[digit]), index + last, 0 if last else digit + 1
  if len(group) == 3 and group[0].text == "{" and _is_whole(group[1]) and group[2].text == "}":
    return int(group[1].text), index + 3, 0
  return None, index, 0


def _is_whole(token: Token) -> bool:
  return token.kind == "number" and token.text.isdigit()
