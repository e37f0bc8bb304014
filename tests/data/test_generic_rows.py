"""Conversion of rows whose columns the config names."""

import pytest

from srpo_jax.data.generic_rows import generic, lookup
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError


def test_columns_and_paths():
  adapt = generic({"question": "q", "answer": "gold.value", "id": "meta.uid"}, "math")
  row = {"q": "Why?", "gold": {"value": 4.0}, "meta": {"uid": 12}}
  assert adapt(row, "x") == Problem(id="12", domain="math", question="Why?", answer="4")


def test_tests_as_json_text_in_both_forms():
  adapt = generic({"question": "q", "tests": "t"}, "code")
  native = '{"type": "assert", "cases": ["assert f(1) == 2"]}'
  assert adapt({"q": "Write f.", "t": native}, "x").tests["cases"] == ["assert f(1) == 2"]
  assert adapt({"q": "Add.", "t": '{"inputs": ["1"], "outputs": ["2"]}'}, "x").tests["type"] == "stdin"


def test_a_column_with_a_dot_in_its_name_comes_first():
  assert lookup({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
  assert lookup({"a": {"b": 2}}, "a.b") == 2 and lookup({"a": 3}, "a.b") is None


@pytest.mark.parametrize(
  ("columns", "row", "message"),
  [
    ({"question": "q", "answer": "a"}, {"q": "Why?"}, "field answer is missing"),
    ({"question": "q", "tests": "t"}, {"q": "Why?", "t": "{"}, "field t: expected tests as JSON"),
  ],
)
def test_bad_rows(columns, row, message):
  with pytest.raises(InputError, match=message):
    generic(columns, "math" if "answer" in columns else "code")(row, "x")


def test_bad_columns():
  with pytest.raises(InputError, match=r"columns.solution: unknown field"):
    generic({"question": "q", "solution": "s"}, "math")
  with pytest.raises(InputError, match=r"columns.question: missing"):
    generic({"answer": "a"}, "math")
