"""Votes of the responses to a mathematics problem: responses with equal answers vote for the same number."""

from collections.abc import Callable, Sequence

from srpo_jax.rewards.answers.latex import Unreadable
from srpo_jax.rewards.format import answer_body
from srpo_jax.rewards.math import stated_answer
from srpo_jax.rollout.collector import Group

Same = Callable[[Sequence[tuple[str, str]]], list[bool]]


def stated(response: str, validator: str) -> str | None:
  """Returns the answer of a response as the math reward reads it, None if there is none."""
  body = answer_body(response)
  if body is None:
    return None
  try:
    return stated_answer(body, validator)
  except Unreadable:
    return None


def votes(group: Group, validator: str, same: Same) -> tuple[list[str | None], list[int | None]]:
  """Returns the answer of each response and the number that it votes for.

  Responses that were judged correct vote 0. Wrong ones vote 1, 2, ...: each joins the first earlier wrong answer that
  the math reward calls equal to it, with either of the two as the gold answer. There is no vote (None) from truncated
  responses, from responses without a readable answer, and from responses that were not judged.

  Args:
    validator: `reward.validator` of the config.
    same: takes pairs of answers and returns for each whether the math reward calls the first correct if the second is
      the gold answer.
  """
  answers = [
    None if rollout.truncated else stated(text, validator)
    for rollout, text in zip(group.rollouts, group.texts, strict=True)
  ]
  numbers: dict[str, int] = {}  # text of a wrong answer -> its number
  first: list[str] = []  # first answer of each number, from number 1 on
  cast: list[int | None] = []
  for answer, verdict in zip(answers, group.verdicts, strict=True):
    if verdict.correct == 1:
      cast.append(0)
    elif answer is None or verdict.correct is None:
      cast.append(None)
    else:
      if answer not in numbers:
        numbers[answer] = _number(answer, first, same)
      cast.append(numbers[answer])
  return answers, cast


def _number(answer: str, first: list[str], same: Same) -> int:
  """Returns the number of the answer in `first` that equals this one. Adds this answer if there is none."""
  ways = same([(answer, other) for other in first]), same([(other, answer) for other in first])
  for number, (one, other) in enumerate(zip(*ways, strict=True), 1):
    if one or other:
      return number
  first.append(answer)
  return len(first)
