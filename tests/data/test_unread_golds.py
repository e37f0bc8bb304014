"""Rows whose gold answer is not read as a value: dropped, kept or refused, and never silent."""

import logging

import numpy as np
import pytest

from srpo_jax.checks.data import check_rows
from srpo_jax.checks.finding import WARN
from srpo_jax.data.encoded import Prompt
from srpo_jax.data.prompt_set import PromptSet
from srpo_jax.training.build import unread_golds_rule
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

GOLDS = ["5", r"\oint_C f\,dz", "x^2+1", "The mode is $3$.", r"\text{even}"]
UNREAD = {1, 3}


def prompt_set(unread_golds: str, golds: list[str] = GOLDS) -> PromptSet:
  problems = [Problem(f"p{index}", "math", "What?", gold) for index, gold in enumerate(golds)]
  return PromptSet(
    "set",
    problems,
    render=lambda problem: Prompt(problem, "What?", np.array([1, 2])),
    max_tokens=9,
    check=lambda problem: None,
    unread_golds=unread_golds,
  )


def test_dropped_rows_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
  with caplog.at_level(logging.WARNING):
    found = prompt_set("drop")
  assert list(found) == ["p0", "p2", "p4"]
  assert set(found.refused) == set(found.unread) == UNREAD
  assert r"set: 2 of 5 gold answers are not read as values, as row 1: gold answer" in caplog.text
  assert r"\oint is not read" in caplog.text
  assert "these rows are dropped" in caplog.text


def test_kept_rows_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
  with caplog.at_level(logging.WARNING):
    found = prompt_set("keep")
  assert len(found) == 5
  assert set(found.unread) == UNREAD
  assert not found.refused
  assert "judged by spelling" in caplog.text


def test_refused_rows_end_the_command_with_their_number_and_the_first_of_them() -> None:
  with pytest.raises(InputError, match=r"set: 2 of 5 gold answers are not read .*row 1: .*row 3: .*expected answers"):
    prompt_set("refuse")


@pytest.mark.parametrize("unread_golds", ["drop", "keep", "refuse"])
def test_a_set_of_values_says_nothing(unread_golds: str, caplog: pytest.LogCaptureFixture) -> None:
  with caplog.at_level(logging.WARNING):
    assert len(prompt_set(unread_golds, ["5", "6"])) == 2
  assert not caplog.text


def test_doctor_reports_unread_golds() -> None:
  finding = check_rows(prompt_set("keep"), 5)[-1]
  assert (finding.level, finding.check) == (WARN, "gold answers")
  assert "2 of 5 gold answers" in finding.found


def test_a_set_without_any_read_gold_is_refused() -> None:
  with pytest.raises(InputError, match="1 of 1 rows cannot be used"):
    prompt_set("drop", [r"\oint_C f\,dz"])


@pytest.mark.parametrize(
  "configured, in_training, elsewhere",
  [("drop", "drop", "keep"), ("keep", "keep", "keep"), ("refuse", "refuse", "refuse")],
)
def test_only_training_drops_rows(configured: str, in_training: str, elsewhere: str) -> None:
  assert unread_golds_rule(configured, training=True) == in_training
  assert unread_golds_rule(configured, training=False) == elsewhere
