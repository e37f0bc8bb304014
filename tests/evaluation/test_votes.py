"""Votes of responses, with equal answers decided by the math reward."""

import numpy as np
import pytest

from srpo_jax.data.encoded import Prompt
from srpo_jax.evaluation.votes import votes
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.collector import Group
from srpo_jax.types import Problem, Rollout, ScoreRequest


@pytest.fixture(scope="module")
def scorer():
  with Scorer(workers=1) as scorer:
    yield scorer


def group(scorer, gold: str, texts, truncated=()):
  """Returns a group of responses with the reward's verdicts.

  A text with a tag is a whole response. Any other text is the boxed answer of one.
  """
  texts = [t if "<" in t else f" hm </think> <answer> \\boxed{{{t}}} </answer>" for t in texts]
  for i, text in enumerate(texts):
    scorer.submit(ScoreRequest(str(i), "", text, i not in truncated, "math", answer=gold))
  verdicts = tuple(scorer.collect().values())
  none = np.zeros(1, np.int32)
  rollouts = tuple(Rollout("p", i, none, none, none.astype(np.float32), i in truncated) for i in range(len(texts)))
  return Group(Prompt(Problem("p", "math", "?", gold), "?", none), rollouts, tuple(texts), verdicts)


def cast(scorer, gold, texts, **kwargs):
  return votes(group(scorer, gold, texts, **kwargs), "tags", scorer.same_answers)


def test_equal_answers_vote_together(scorer):
  texts = ["0.5", "7", r"\frac{1}{3}", r"\frac12", "7.0", r"\frac{2}{6}", "x+1", "1+x", "8"]
  answers, numbers = cast(scorer, "1/2", texts)
  assert answers == texts
  assert numbers == [0, 1, 2, 0, 1, 2, 3, 3, 4]


def test_equality_that_only_many_digits_can_prove(scorer):
  texts = [r"\sqrt{12}", r"2\sqrt{3}", r"\frac{6}{\sqrt{3}}", "3"]
  numbers = cast(scorer, "5", texts)[1]
  assert numbers == [1, 1, 1, 2]


def test_either_answer_may_be_the_gold_one(scorer):
  """Compares 1/2+1/3 with 5/6. The sum is not evaluated against the gold 5/6, but 5/6 matches the sum as the gold."""
  assert scorer.same_answers([("1/2+1/3", "5/6"), ("5/6", "1/2+1/3")]) == [False, True]
  for texts in (["5/6", "1/2+1/3"], ["1/2+1/3", "5/6"]):
    assert cast(scorer, "9", texts)[1] == [1, 1]


def test_responses_that_do_not_vote(scorer):
  texts = ["3", " no </think> answer", " hm </think> <answer> \\boxed{1} \\boxed{2} </answer>", "4", "3"]
  answers, numbers = cast(scorer, "4", texts, truncated={4})
  assert answers == ["3", None, None, "4", None]
  assert numbers == [1, None, None, 0, None]


def test_no_pairs_no_answers(scorer):
  assert scorer.same_answers([]) == []
