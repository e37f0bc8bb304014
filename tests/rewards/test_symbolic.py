"""Math-Verify decides about expressions whose values cannot be computed."""

import pytest

from srpo_jax.rewards.answers import proof
from srpo_jax.rewards.answers.read import read_value
from srpo_jax.rewards.answers.symbolic import same_by_math_verify
from srpo_jax.rewards.math import judge_stated


def tree(text):
  return read_value(text, 200).expression.tree


@pytest.mark.parametrize(
  ("gold", "answer", "equal"),
  [
    (r"\sqrt{12}", r"2\sqrt{3}", True),
    (r"\sqrt{12}", r"2\sqrt{2}", False),
    (r"\frac{x^2-1}{x-1}", "x+1", True),
    (r"x^2", "x^3", False),
    (r"\ln 8", r"3\ln 2", True),
    (r"i^2", "-1", True),
    (r"\sum_{k=1}^{n} k", "n", False),
  ],
)
def test_math_verify_compares_expressions(gold, answer, equal):
  assert same_by_math_verify(tree(gold), tree(answer)) is equal


def test_it_is_asked_only_where_no_value_can_be_compared(monkeypatch):
  asked = []
  monkeypatch.setattr(proof, "same_by_math_verify", lambda *trees: asked.append(trees) or True)
  assert judge_stated(r"2\sqrt{3}", r"\sqrt{12}") == (1, "equal") and not asked
  monkeypatch.setattr(proof, "agree", lambda *_: None)
  assert judge_stated(r"2\sqrt{3}", r"\sqrt{12}") == (1, "equal") and len(asked) == 1
