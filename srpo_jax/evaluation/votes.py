"""Which responses to a mathematics problem give the same answer, for votes over them."""

from collections.abc import Callable, Sequence

from srpo_jax.rewards.answers.latex import Unreadable
from srpo_jax.rewards.format import answer_body
from srpo_jax.rewards.math import stated_answer
from srpo_jax.rollout.collector import Group

Same = Callable[[Sequence[tuple[str, str]]], list[bool]]


def stated(response: str, validator: str) -> str | None:
  """The answer that a response puts forward as the math reward reads it; None where there is none."""
  body = answer_body(response)
  if body is None:
    return None
  try:
    return stated_answer(body, validator)
  except Unreadable:
    return None


def votes(group: Group, validator: str, same: Same) -> tuple[list[str | None], list[int | None]]:
  """The answer of each response and the number of what it votes for: 0 the correct one, 1 and on the wrong ones.

  Responses that were judged correct vote for one answer. A wrong one joins the first answer that the math reward calls
  equal to it, whichever of the two is taken for the gold one. Truncated responses, those without an answer that can be
  read, and those not judged do not vote.

  Args:
    same: whether the math reward calls the first of each pair correct where the second is the gold answer.
  """
  answers = [
    None if rollout.truncated else stated(text, validator)
    for rollout, text in zip(group.rollouts, group.texts, strict=True)
  ]
  numbers: dict[str, int] = {}  # of wrong answers as they are written
  first: list[str] = []  # of each number from 1 on, the answer that began it
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
  """The number of the answer in `first` that equals this one, which is added where none does."""
  ways = same([(answer, other) for other in first]), same([(other, answer) for other in first])
  for number, (one, other) in enumerate(zip(*ways, strict=True), 1):
    if one or other:
      return number
  first.append(answer)
  return len(first)
