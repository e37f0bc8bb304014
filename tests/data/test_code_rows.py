"""Conversion of MBPP, HumanEval and LiveCodeBench rows to problems with runnable tests."""

import base64
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zlib

import pytest

from srpo_jax.data import code_rows, sources
from srpo_jax.rewards.cases import turn
from srpo_jax.utils.errors import InputError

MBPP = {
  "task_id": 7,
  "prompt": "Add two numbers.",
  "code": "import math\ndef helper(x):\n  return x\ndef sum(a, b=1, *c):\n  return helper(a) + b",
  "test_imports": ["import math"],
  "test_list": ["assert sum(1, 2) == 3", "assert sum(1) == 2"],
}
HUMANEVAL = {
  "task_id": "HumanEval/0",
  "prompt": "def add(a):\n    ...\n",
  "entry_point": "add",
  "canonical_solution": "",
  "test": "import math\nMETADATA = {}\n\ndef check(candidate):\n    assert True\n    assert candidate(1) == 2, 'x'\n",
}


def packed(value) -> str:
  return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def lcb(kind="stdin", private="", **fields):
  case = {"input": "1 2\n", "output": "3\n", "testtype": "stdin"}
  if kind == "functional":
    case = {"input": '[1, 2]\n"a"', "output": "3", "testtype": "functional"}
  row = {"question_id": "q1", "question_content": "Add.", "starter_code": "", "difficulty": "easy"}
  row |= {"public_test_cases": json.dumps([case]), "private_test_cases": private, "metadata": "{}"}
  return row | fields


def adapt(row):
  return sources.ADAPTERS[sources.detect_format([row])](row, "fallback")


def test_mbpp():
  problem = adapt(MBPP)
  assert (problem.id, problem.domain, problem.source) == ("mbpp-7", "code", "mbpp")
  assert problem.question == "Add two numbers.\nDefine:\n    def sum(a, b=1, *c)"
  assert problem.tests["functions"] == ["helper", "sum"]
  assert len(turn(problem.tests)) == 2


def test_no_question_of_mbpp_shows_an_expected_value(data_dir):
  for line in (data_dir / "mbpp.jsonl").read_text().splitlines():
    row = json.loads(line)
    question = adapt(row).question
    assert not any(test in question for test in row["test_list"])


def test_humaneval():
  problem = adapt(HUMANEVAL)
  assert (problem.id, problem.source) == ("HumanEval/0", "humaneval")
  assert problem.question == "Complete this function:\n\ndef add(a):\n    ..."
  suite = turn(problem.tests)
  assert [call["expression"] for call in suite.calls] == ["add(1)"] and suite.imports == ("import math",)


def test_livecodebench_stdin_with_private_cases():
  more = json.dumps([{"input": "5\n", "output": "5\n", "testtype": "stdin"}])
  for private in ("", more, packed(more), packed(json.loads(more))):
    problem = adapt(lcb(private=private))
    assert (problem.id, problem.difficulty, problem.question) == ("q1", "easy", "Add.")
    assert problem.tests["cases"][0] == {"input": "1 2\n", "output": "3\n"}
    assert len(turn(problem.tests)) == (2 if private else 1)


def test_livecodebench_functional():
  starter = "class Solution:\n    def add(self, xs: List[int], s: str) -> int:\n        "
  problem = adapt(lcb("functional", starter_code=starter, metadata='{"func_name": "add"}'))
  assert problem.question.endswith("Start from:\n\n" + starter)
  cases = [{"args": [[1, 2], "a"], "expected": 3}]
  tests = {"type": "function", "entry_point": "Solution.add", "cases": cases, "prelude": code_rows.PRELUDE}
  assert problem.tests == tests | {"benchmark": "livecodebench"}
  assert turn(problem.tests).calls[0] == {"entry_point": "Solution.add", "arguments": ["[1, 2]", '"a"']}
  plain = adapt(lcb("functional", metadata={"func_name": "add"}))
  assert plain.tests["entry_point"] == "add"


WAS_RUN = f"{tempfile.gettempdir()}/srpo-pickle-was-run-{os.getpid()}"


class Evil:
  def __reduce__(self):
    return os.system, (f"echo pwned > {WAS_RUN}",)


@pytest.mark.parametrize(
  ("private", "message"),
  [
    (packed(Evil()), "names posix.system"),
    (packed({1, 2}), "expected a list of objects"),
    (packed("not json"), "field private_test_cases: expected JSON"),
    ("!!!", "field private_test_cases: expected JSON, or it packed"),
    (base64.b64encode(b"x").decode(), "field private_test_cases: expected JSON, or it packed"),
    (base64.b64encode(zlib.compress(b"x")).decode(), "field private_test_cases"),
    (base64.b64encode(zlib.compress(pickle.dumps("[]"))[:-9]).decode(), "field private_test_cases"),
    ("[1]", "field private_test_cases: expected a list of objects"),
  ],
)
def test_private_cases_that_are_not_plain_are_refused(private, message):
  with pytest.raises(InputError, match=message):
    adapt(lcb(private=private))
  assert not os.path.exists(WAS_RUN)


def sent(data: bytes) -> str:
  return base64.b64encode(zlib.compress(data)).decode()


def doubled() -> list:
  value: list = []
  for _ in range(60):
    value = [value, value]
  return value


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"private_test_cases": sent(b"\x80\x04\x8c\x01ar\xff\xff\xff\x7f.")}, "stores a value as memo number 2147483647"),
    ({"private_test_cases": sent(b"\x80\x04\x8c\x02[]p4000000000\n.")}, "stores a value as memo number 4000000000"),
    ({"private_test_cases": sent(b"\x80\x04" + b"N0" * 600_000 + b"N.")}, "more than 1000000 steps"),
    ({"private_test_cases": sent(pickle.dumps(doubled()))}, "expected a list of objects"),
    ({"private_test_cases": packed("[" * 100_000)}, "field private_test_cases: expected JSON"),
    ({"public_test_cases": "[" * 100_000}, "field public_test_cases: expected JSON"),
    ({"public_test_cases": [{"input": "1", "output": "1", "testtype": ["stdin"]}]}, "expected testtype"),
    ({"public_test_cases": [{"input": "[" * 100_000, "output": "1", "testtype": "functional"}]}, "in every line"),
    ({"metadata": "[" * 100_000}, "field metadata"),
    ({"starter_code": ["class Solution"]}, "field starter_code: expected text"),
  ],
)
def test_rows_that_would_break_or_fill_the_reader_are_refused(fields, words):
  """Reads the row in a separate process with bounded memory, which a row that is not refused at once would kill."""
  script = """
import resource, sys
from srpo_jax.data.sources import ADAPTERS
from srpo_jax.utils.errors import InputError
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
  ADAPTERS["livecodebench"](eval(sys.stdin.read()), "?")
except InputError as error:
  print(str(error)[:500])
"""
  row = lcb("functional", metadata='{"func_name": "f"}') | fields
  done = subprocess.run(
    [sys.executable, "-c", script], input=repr(row), capture_output=True, text=True, timeout=300, check=False
  )
  assert words in done.stdout, done.stderr[-500:]


def test_the_pickle_that_is_refused_would_have_run():
  """Shows that the refusal of such pickles is needed: an ordinary unpickler calls the function that a pickle names."""

  class Harmless:
    def __reduce__(self):
      return len, ("four",)

  assert pickle.loads(pickle.dumps(Harmless())) == 4
  with pytest.raises(InputError, match=r"names builtins\.len"):
    adapt(lcb(private=packed(Harmless())))


def test_unpacked_cases_are_bounded(monkeypatch):
  monkeypatch.setattr(code_rows, "MAX_UNPACKED", 1 << 20)
  with pytest.raises(InputError, match="at most 1 MiB unpacked"):
    adapt(lcb(private=packed("x" * (2 << 20))))


@pytest.mark.parametrize(
  ("row", "message"),
  [
    (MBPP | {"code": "def ("}, "field code: expected a Python program"),
    (MBPP | {"prompt": ""}, "field prompt: expected text, found ''"),
    (MBPP | {"test_list": []}, "field test_list: expected a list of asserts"),
    (MBPP | {"test_list": [1]}, "field test_list: expected a list of texts"),
    (HUMANEVAL | {"test": "x = 1"}, r"field test: expected a function check\(candidate\)"),
    (HUMANEVAL | {"entry_point": None}, "field entry_point: expected text"),
    (lcb(public_test_cases=""), "expected at least one case"),
    (lcb("functional"), "field metadata.func_name: expected the name of a function, found None"),
    (lcb("functional", metadata="{"), "field metadata: expected a JSON object"),
    (lcb(private=json.dumps([{"input": "", "output": "", "testtype": "functional"}])), "stdin or functional only"),
    (lcb(public_test_cases='[{"input": 1, "output": "", "testtype": "stdin"}]'), "expected cases with the text input"),
    (
      lcb("functional", metadata={"func_name": "f"})
      | {"public_test_cases": '[{"input": "x", "output": "1", "testtype": "functional"}]'},
      "expected JSON in every line",
    ),
  ],
)
def test_a_wrong_field_is_named(row, message):
  with pytest.raises(InputError, match=message) as caught:
    adapt(row)
  assert len(str(caught.value).splitlines()) == 1
