"""The questions say what their ids say, and held-out problems share nothing with training or the examples."""

import collections
import re

import pytest

from srpo_jax.data import word_arithmetic as task
from srpo_jax.data.toy.wording import NUMBER_WORDS
from srpo_jax.rewards.format import format_ok
from srpo_jax.utils.errors import InputError

VALUES = {word: i if i <= 20 else 10 * (i - 18) for i, word in enumerate(NUMBER_WORDS)}
APPLY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
NUMBER = re.compile(rf"\b(?:(?:{'|'.join(w for w in VALUES if w.endswith('ty'))})-)?(?:{'|'.join(VALUES)})\b")


def numbers_in(question: str) -> list[int]:
  """Returns the numbers of a question, by adding the values of their words."""
  return [sum(VALUES[word] for word in number.split("-")) for number in NUMBER.findall(question)]


def expression_key(id_: str) -> tuple[str, tuple[int, ...]]:
  """Returns the operation and the operands in ascending order, so that 3+4 and 4+3 are one expression."""
  a, operation, b = re.fullmatch(r"words/(\d+)([-+*])(\d+)/\d", id_).groups()
  return operation, tuple(sorted((int(a), int(b))))


def pairs(problems) -> set[tuple[int, ...]]:
  return {tuple(sorted(numbers_in(problem.question))) for problem in problems}


def test_questions_answers_and_ids_agree():
  for problem in task.train_problems() + task.heldout_problems():
    operation, operands = expression_key(problem.id)
    assert sorted(numbers_in(problem.question)) == list(operands), problem
    a, b = map(int, re.findall(r"\d+", problem.id)[:2])
    assert problem.answer == str(APPLY[operation](a, b)) and int(problem.answer) >= 0
    assert not re.search(r"[\d{}]", problem.question) and problem.domain == "math"


def test_heldout_problems_share_no_expression_with_training_or_examples():
  train, heldout = task.train_problems(), task.heldout_problems()
  assert len(heldout) == 256
  for problems in (train, heldout):
    assert len({p.question for p in problems}) == len({p.id for p in problems}) == len(problems)
    assert len({expression_key(p.id) for p in problems}) >= 80
  assert not {expression_key(p.id) for p in train} & {expression_key(p.id) for p in heldout}
  assert not pairs(train) & pairs(heldout)
  examples = {tuple(sorted(numbers_in(row["question"]))) for row in task.examples()}
  assert len(examples) == 2 and not examples & (pairs(train) | pairs(heldout))


@pytest.mark.parametrize("seed", [1, 7])
def test_the_split_does_not_depend_on_the_seed(seed):
  assert not pairs(task.problems("train", 300, seed)) & pairs(task.heldout_problems())


def test_examples_have_the_required_form_and_are_right():
  for row, answer in zip(task.examples(), ("11", "27"), strict=True):
    assert format_ok(row["response"], ended=True, domain="math", validator="tags")
    assert f"\\boxed{{{answer}}}" in row["response"]


def test_wordings_vary():
  wordings = collections.Counter(re.sub(NUMBER, "N", p.question.lower()) for p in task.train_problems())
  assert len(wordings) == 18 and min(wordings.values()) >= 10


def test_questions_are_the_same_every_time():
  assert task.problems("train", 50, 3) == task.problems("train", 50, 3)
  assert task.problems("train", 50, 3) != task.problems("train", 50, 4)


@pytest.mark.parametrize(("split", "size"), [("test", 3), ("train", 0), ("heldout", 100_000)])
def test_bad_arguments(split, size):
  with pytest.raises(InputError, match=split):
    task.problems(split, size, 0)
