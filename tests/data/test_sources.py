"""Conversion of rows of public data sets to problems. Errors name the field."""

import math

import pytest

from srpo_jax.data import sources
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

ASSERTS = {"type": "assert", "cases": ["assert f(1) == 2"]}


def adapt(row, format="auto"):
  name = sources.detect_format([row]) if format == "auto" else format
  return sources.ADAPTERS[name](row, "fallback")


def test_native_keeps_every_field():
  row = {"id": "a", "domain": "math", "question": " Q? ", "answer": "4", "difficulty": "hard", "pass_rate": 0.5}
  assert adapt(row | {"source": "mine", "extra": 1}) == Problem(
    id="a", domain="math", question="Q?", answer="4", difficulty="hard", pass_rate=0.5, source="mine"
  )


def test_native_code_has_tests_and_needs_no_answer():
  row = {"domain": "code", "question": "Write f.", "tests": ASSERTS, "answer": None}
  assert adapt(row) == Problem(id="fallback", domain="code", question="Write f.", tests=ASSERTS)


def test_native_of_a_users_own_domain_needs_neither():
  assert adapt({"domain": "poetry", "question": "Rhyme."}).domain == "poetry"


def test_gsm8k_takes_the_number_after_the_hashes():
  row = {"question": "How many?", "answer": "1000 + 234 = <<1000+234=1234>>1234\n#### 1,234"}
  assert adapt(row) == Problem(id="fallback", domain="math", question="How many?", answer="1234", source="gsm8k")


@pytest.mark.parametrize(
  ("tail", "answer"),
  [("#### -5", "-5"), ("####7", "7"), ("#### 1,080,000 ", "1080000"), ("#### 2.50", "2.50"), ("#### 1 #### 2", "2")],
)
def test_gsm8k_numbers(tail, answer):
  assert adapt({"question": "Q", "answer": tail}).answer == answer


@pytest.mark.parametrize("tail", ["", "five", "1,23", "1 2", "12,", "-", ".", "$5", "5."])
def test_gsm8k_refuses_an_answer_that_is_not_a_number(tail):
  with pytest.raises(InputError, match="field answer: expected one number after '####'"):
    adapt({"question": "Q", "answer": f"so #### {tail}"})


def test_gsm8k_without_hashes_is_an_error():
  with pytest.raises(InputError, match=r"field answer: expected GSM8K's '#### n'.*native.*domain"):
    adapt({"question": "Q", "answer": "42"}, "gsm8k")


@pytest.mark.parametrize("answer", ["42", "\\frac{1}{2}", 42, "She has 3 + 4 = 7 eggs."])
def test_a_plain_row_is_native_math(answer):
  row = {"question": "Q", "answer": answer, "difficulty": "hard", "note": "mine"}
  assert adapt(row) == Problem(id="fallback", domain="math", question="Q", answer=str(answer), difficulty="hard")


def test_a_plain_row_may_name_its_domain():
  assert adapt({"question": "Q", "answer": "4", "domain": "puzzle"}, "plain").domain == "puzzle"
  assert adapt({"question": "Q", "answer": "4", "domain": None}, "plain").domain == "math"


@pytest.mark.parametrize("choices", [["3", "4"], {"text": ["3", "4"], "label": ["A", "B"]}])
def test_the_number_of_a_choice_is_not_an_answer(choices):
  with pytest.raises(InputError, match=r"field answer: expected GSM8K's '#### n'.*native.*domain"):
    adapt({"question": "Q", "choices": choices, "answer": 1})


def test_math_takes_the_answer_before_the_solution():
  row = {"problem": "P", "answer": "\\frac{1}{2}", "solution": "\\boxed{3}", "level": "Level 5", "type": "Algebra"}
  assert adapt(row | {"id": 60}) == Problem(
    id="60", domain="math", question="P", answer="\\frac{1}{2}", difficulty="Level 5", source="math/Algebra"
  )


def test_math_takes_the_last_box_of_the_solution():
  solution = "First \\boxed{1}, but then \\[\\boxed{ \\left\\{ \\frac{1}{2} \\right. } .\\] Done {"
  assert adapt({"problem": "P", "solution": solution, "answer": None}).answer == "\\left\\{ \\frac{1}{2} \\right."


@pytest.mark.parametrize(
  ("solution", "answer"),  # some rows of MATH have this form
  [("$\\boxed 3$.", "3"), ("\\fbox{\\frac{1}{2}}", "\\frac{1}{2}"), ("\\boxed{1} or \\boxed C", "C")],
)
def test_boxes_of_other_forms(solution, answer):
  assert adapt({"problem": "P", "solution": solution}).answer == answer


def test_a_level_that_a_table_made_a_float():
  assert adapt({"problem": "P", "answer": "1", "level": 5.0}).difficulty == "Level 5"


@pytest.mark.parametrize("solution", ["none", "the \\boxed answer", "\\boxed 3x", "open \\boxed{1", "\\boxed{ }"])
def test_math_solution_without_a_box_is_an_error(solution):
  with pytest.raises(InputError, match=r"field solution: expected a \\boxed"):
    adapt({"problem": "P", "solution": solution})


@pytest.mark.parametrize(
  ("number", "text"),
  [
    *[(27.0, "27"), (-1.0, "-1"), (0.5, "0.5"), (3, "3"), (1e22, "1" + "0" * 22)],
    *[(1e-7, "0.0000001"), (-0.0, "0"), (10**20 + 1, "1" + "0" * 19 + "1")],
  ],
)
def test_numeric_answers_are_written_as_people_do(number, text):
  assert adapt({"problem": "P", "answer": number}).answer == text


NATIVE = {"domain": "math", "question": "Q", "answer": "1"}
CODE = {"domain": "code", "question": "Q", "tests": ASSERTS}


@pytest.mark.parametrize(
  ("row", "message"),
  [
    (NATIVE | {"question": "  "}, "field question is empty"),
    (NATIVE | {"question": 3}, "field question: expected text, got 3"),
    (NATIVE | {"question": None}, "field question is missing"),
    (NATIVE | {"question": "half \ud83d"}, "field question: expected Unicode text, got a lone surrogate at 5"),
    (NATIVE | {"answer": None}, "field answer is missing"),
    (NATIVE | {"answer": ""}, "field answer is empty"),
    (NATIVE | {"answer": True}, "field answer: expected text, got True"),
    (NATIVE | {"answer": ["1"]}, "field answer: expected text, got ['1']"),
    (NATIVE | {"answer": math.nan}, "field answer: expected a finite number, got nan"),
    (NATIVE | {"answer": math.inf}, "field answer: expected a finite number, got inf"),
    (NATIVE | {"id": ""}, "field id is empty"),
    (NATIVE | {"id": 1.5}, "field id: expected text, got 1.5"),
    (NATIVE | {"id": False}, "field id: expected text, got False"),
    (NATIVE | {"domain": ""}, "field domain is empty"),
    (NATIVE | {"difficulty": 3}, "field difficulty: expected text, got 3"),
    (NATIVE | {"pass_rate": 1.5}, "field pass_rate: expected a number from 0 to 1, got 1.5"),
    (NATIVE | {"pass_rate": math.nan}, "field pass_rate: expected a number from 0 to 1, got nan"),
    (NATIVE | {"pass_rate": "0.5"}, "field pass_rate: expected a number from 0 to 1, got '0.5'"),
    (CODE | {"tests": None}, "field tests is missing"),
    (CODE | {"tests": "assert"}, "field tests: expected an object, got 'assert'"),
    (CODE | {"tests": {"cases": [1]}}, "field tests.type: expected one of assert, function, stdin, got None"),
    (CODE | {"tests": ASSERTS | {"cases": []}}, "field tests.cases: expected a list of at least one case, got []"),
    (CODE | {"tests": {"type": "function", "cases": [{}]}}, "field tests.entry_point: expected text, got None"),
  ],
)
def test_a_wrong_field_is_named(row, message):
  with pytest.raises(InputError) as caught:
    adapt(row, "native")
  assert str(caught.value) == message


def test_a_long_value_is_cut_in_the_message():
  with pytest.raises(InputError) as caught:
    adapt(NATIVE | {"question": ["x" * 10_000]})
  assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
  ("columns", "format"),
  [
    (("id", "domain", "question", "answer"), "native"),
    (("domain", "question", "tests"), "native"),
    (("question", "answer"), "plain"),
    (("problem", "answer", "id"), "math"),
    (("problem", "solution", "level", "type"), "math"),
  ],
)
def test_columns_tell_the_format(columns, format):
  assert sources.detect_format([dict.fromkeys(columns, "1")]) == format


@pytest.mark.parametrize("columns", [(), ("text",), ("question",), ("problem", "level")])
def test_unknown_columns_are_refused(columns):
  with pytest.raises(InputError, match="expected domain and question"):
    sources.detect_format([dict.fromkeys(columns, "1")])
