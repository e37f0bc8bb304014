"""The toy code task: its tests distinguish its functions, and its traces match their names."""

import numpy as np
import pytest

from srpo_jax.data.toy import programs
from srpo_jax.data.toy.programs import TraceMix, problems, trace
from srpo_jax.rewards.cases import turn
from srpo_jax.rewards.format import format_ok
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError

TRAIN, HELDOUT = 250, 100


def test_problems_are_distinct_and_the_splits_are_apart():
  train, held = problems("train", TRAIN, 0), problems("heldout", HELDOUT, 0)
  assert len({p.id for p in (*train, *held)}) == TRAIN + HELDOUT
  assert {p.id for p in problems("train", TRAIN, 1)} & {p.id for p in held} == set()
  assert problems("train", 50, 0) == train[:50] and problems("train", 50, 1) != train[:50]


def test_no_two_functions_pass_each_others_tests():
  known: dict = {}
  for count in (1, 2):
    for steps in programs._all(count):
      values = tuple(programs._value(steps, x) for x in programs.TEST_INPUTS)
      assert known.setdefault(values, steps) == steps
      assert values == tuple(eval(programs.expression(steps)) for x in programs.TEST_INPUTS)


def test_a_problem():
  (problem,) = [p for p in problems("train", TRAIN, 0) if p.difficulty == "medium"][:1]
  assert problem.question.startswith("Write f(x): start from x, ") and problem.domain == "code"
  assert len(turn(problem.tests)) == len(programs.TEST_INPUTS)


def test_traces_are_right_wrong_or_malformed_as_the_sandbox_sees_them():
  rng = np.random.default_rng(0)
  kinds = {"right": (1, 0, 0, 0), "hasty": (0, 1, 0, 0), "slip": (0, 0, 1, 0), "malformed": (0, 0, 0, 1)}
  with Scorer(workers=1, sandbox=SandboxOptions(slots=2)) as scorer:
    for problem in problems("train", 40, 0):
      for name, weights in kinds.items():
        text = trace(problem, rng, TraceMix(*weights))
        scorer.submit(ScoreRequest(f"{problem.id} {name}", problem.question, text, True, "code", None, problem.tests))
        assert format_ok(text, ended=True, domain="code") is (name != "malformed")
    found = scorer.collect()
  for name, correct in (("right", {1}), ("hasty", {0, 1}), ("slip", {0}), ("malformed", {1})):
    assert {v.correct for id, v in found.items() if id.endswith(name)} == correct, name
  for problem in problems("train", 40, 0):  # the first step is enough only if there is no second
    assert found[f"{problem.id} hasty"].correct == (problem.difficulty == "easy")


@pytest.mark.parametrize(("split", "size"), [("test", 5), ("train", 0), ("train", 10**6)])
def test_bad_arguments_are_named(split, size):
  with pytest.raises(InputError, match=r"split|size"):
    problems(split, size, 0)


def test_a_foreign_problem_has_no_trace():
  from srpo_jax.types import Problem

  with pytest.raises(InputError, match="expected an id of function/STEPS"):
    trace(Problem("x", "code", "?"), np.random.default_rng(0))
