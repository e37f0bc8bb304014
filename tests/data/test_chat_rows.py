"""Conversion of rows in the layout of DAPO-Math-17k, Eurus-2-RL-Data and DeepScaleR."""

import json

import pytest

from srpo_jax.data.sources import ADAPTERS, detect_format
from srpo_jax.rewards.cases import turn
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from tests.helpers.chat_rows import DAPO, EURUS_CODE, EURUS_MATH, UNASKED


def adapt(row):
  return ADAPTERS[detect_format([row])](row, "0000007")


def with_truth(truth, **changes):
  return EURUS_CODE | {"reward_model": {"ground_truth": truth, "style": "rule"}} | changes


def test_dapo():
  assert adapt(DAPO) == Problem(
    id="9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079", domain="math", question="How many primes are below 10?", answer="4",
    source="math_dapo",
  )  # fmt: skip


def test_eurus_math():
  assert adapt(EURUS_MATH) == Problem(
    id="0000007", domain="math", question="Find $\\cos 60^\\circ$.", answer="\\frac{1}{2}", source="numina_olympiads"
  )


def test_eurus_code_on_standard_input():
  problem = adapt(EURUS_CODE)
  cases = [{"input": "1 2\n", "output": "3\n"}, {"input": "3 4\n", "output": "7\n"}]
  assert problem == Problem(
    id="0000007", domain="code", question="Print the sum of two numbers.", tests={"type": "stdin", "cases": cases},
    source="taco",
  )  # fmt: skip
  assert len(turn(problem.tests)) == 2


def test_eurus_code_of_calls_unwraps_outputs_that_are_all_wrapped():
  truth = {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], [7]]}
  assert adapt(with_truth(json.dumps(truth))).tests == {
    "type": "function", "entry_point": "add",
    "cases": [{"args": [1, 2], "expected": 3}, {"args": [3, 4], "expected": 7}],
  }  # fmt: skip
  truth["outputs"] = [[3], [7, 8]]
  assert [case["expected"] for case in adapt(with_truth(json.dumps(truth))).tests["cases"]] == [[3], [7, 8]]


def test_lines_of_standard_input_are_joined():
  truth = json.dumps({"inputs": [["1", "2"]], "outputs": [["3"]]})
  assert adapt(with_truth(truth)).tests["cases"] == [{"input": "1\n2", "output": "3"}]


def test_deepscaler():
  row = {"problem": "What is $1+1$?", "answer": "2", "solution": "It is $2$."}
  expected = Problem(id="0000007", domain="math", question="What is $1+1$?", answer="2", source="deepscaler")
  assert ADAPTERS["deepscaler"](row, "0000007") == expected


@pytest.mark.parametrize(
  ("row", "message"),
  [
    (DAPO | {"prompt": "text"}, "field prompt: expected a list of chat messages"),
    (DAPO | {"prompt": []}, "field prompt: expected a user message"),
    (DAPO | {"prompt": [{"role": "user", "content": "\ud800"}]}, "field prompt: expected a user message"),
    (DAPO | {"prompt": [{"role": "user", "content": UNASKED}]}, "found nothing but instructions"),
    (DAPO | {"reward_model": None}, "field reward_model: expected an object"),
    (DAPO | {"reward_model": {"ground_truth": " "}}, "field reward_model.ground_truth is missing"),
    (DAPO | {"reward_model": {"ground_truth": [1]}}, "expected the answer as text"),
    (with_truth("{"), "field reward_model.ground_truth: expected JSON"),
    (with_truth("[]"), "expected an object with inputs and outputs"),
    (with_truth('{"inputs": [], "outputs": []}'), "expected as many outputs as inputs"),
    (with_truth('{"inputs": ["1"], "outputs": ["1", "2"]}'), "found 2 for 1"),
    (with_truth('{"inputs": [1], "outputs": [1]}'), "expected text on standard input"),
    (with_truth('{"fn_name": "f", "inputs": [1], "outputs": [1]}'), "expected a list of arguments"),
    (with_truth('{"inputs": "1", "outputs": ["1"]}'), "ground_truth.inputs: expected a list"),
  ],
)  # fmt: skip
def test_bad_rows_name_the_field(row, message):
  with pytest.raises(InputError, match=message):
    adapt(row)
