"""Decides with many digits whether two expressions that agree in double precision are equal.

Math-Verify decides where no value can be computed. Both may take long, so only workers do it.
"""

import functools

from srpo_jax.rewards.answers.arithmetic import Precise
from srpo_jax.rewards.answers.expression import Node, symbols
from srpo_jax.rewards.answers.powers import power_digits
from srpo_jax.rewards.answers.sample import Precision, agree
from srpo_jax.rewards.answers.symbolic import same_by_math_verify

_DIGITS = 60  # decimal digits of the first look, and at the points of an expression with variables
_MANY_DIGITS = 600  # decimal digits for constants; a text of this length cannot hide a smaller difference
_GUARD = 15  # decimal digits that rounding may spoil


def prove(gold: Node, answer: Node) -> bool:
  """Returns True if two scalar expressions are equal. May run for a long time.

  Expressions with variables are compared at the points of `sample.py`.
  """
  equal = _agree(gold, answer, _DIGITS)
  if equal and not symbols(gold) and not symbols(answer):
    equal = _agree(gold, answer, _MANY_DIGITS + power_digits(gold) + power_digits(answer))
  return same_by_math_verify(gold, answer) if equal is None else equal


def _agree(gold: Node, answer: Node, digits: int) -> bool | None:
  return agree(gold, answer, _precision(digits))


@functools.lru_cache(maxsize=8)
def _precision(digits: int) -> Precision:
  numbers = Precise(digits)
  tolerance, tiny = numbers.ten_to(_GUARD - digits), numbers.ten_to(2 * _GUARD - digits)
  return Precision(Precise(digits, real=True), numbers, tolerance, tolerance, tiny)
