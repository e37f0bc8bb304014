"""Tests of programs judged by the rules of LiveCodeBench and HumanEval, through the judge and the sandbox."""

import dataclasses
import json

import pytest

from srpo_jax.data.sources import ADAPTERS
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.training.build import build_scorer
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError
from tests.helpers.runs import toy
from tests.rewards.test_code_training import answered

OPTIONS = SandboxOptions(min_tier="namespaces", slots=2)


@pytest.fixture(scope="module")
def scorer():
  with Scorer(workers=1, sandbox=OPTIONS, by_benchmark=True) as running:
    yield running


@pytest.fixture(scope="module")
def training():
  with Scorer(workers=1, sandbox=OPTIONS) as running:
    yield running


def judged(scorer: Scorer, tests: object, *programs: str) -> list[int | None]:
  for number, program in enumerate(programs):
    response = f" I write it. </think> <answer>```python\n{program}\n```</answer>"
    scorer.submit(ScoreRequest(str(number), "Write it.", response, True, "code", tests=tests))
  return [verdict.correct for verdict in scorer.collect().values()]


def livecodebench(cases: list[tuple[str, str]], *, function: str = "", starter: str = "") -> object:
  kind = "functional" if function else "stdin"
  row = {
    "question_content": "Solve it.",
    "starter_code": starter,
    "public_test_cases": json.dumps([{"input": i, "output": o, "testtype": kind} for i, o in cases]),
    "private_test_cases": "",
    "metadata": json.dumps({"func_name": function} if function else {}),
  }
  return ADAPTERS["livecodebench"](row, "x").tests


SUM = livecodebench([("1 2\n", "3\n"), ("20 22", "42")])
SCRIPTS = {
  "plain": ("print(sum(map(int, input().split())))", 1, 1),
  "decimal for a whole number": ("print(float(sum(map(int, input().split()))))", 1, 0),
  "in scientific form": ("print('%e' % sum(map(int, input().split())))", 1, 0),
  "blank lines before and after": ("print()\nprint(sum(map(int, input().split())))\nprint()\nprint()", 1, 0),
  "exit status 1 after the output": ("import sys\nprint(sum(map(int, input().split())))\nsys.exit(1)", 1, 0),
  "main unwrapped": (
    "def main():\n  print(sum(map(int, input().split())))\nif __name__ == '__main__':\n  main()",
    1,
    1,
  ),
  "a return at the top": ("print(sum(map(int, input().split())))\nreturn", 1, 0),
  "names of the prelude": ("a = deque(map(int, input().split()))\nprint(reduce(add, a))", 1, 1),
  "an error after the output": ("print(sum(map(int, input().split())))\n1 / 0", 0, 0),
  "a global of a function's own": (
    "total = 0\ndef run():\n  global total\n  total += sum(map(int, input().split()))\nrun()\nprint(total)",
    0,
    1,
  ),
  "wrong": ("print(3)", 0, 0),
  "deep recursion": (
    "def f(n):\n  return 0 if n == 0 else 1 + f(n - 1)\nf(30000)\nprint(sum(map(int, input().split())))",
    1,
    0,
  ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_of_livecodebench(scorer, training, name):
  program, by_benchmark, by_training = SCRIPTS[name]
  assert judged(scorer, SUM, program) == [by_benchmark]
  assert judged(training, SUM, program) == [by_training]


STARTER = "class Solution:\n  def pairs(self, items: List[int]) -> List[int]:\n"
PAIRS = livecodebench([("[1, 2]", "[2, 1]"), ("[3, 4]", "[4, 3]")], function="pairs", starter=STARTER)
METHODS = {
  "a list": ("class Solution:\n  def pairs(self, items: List[int]):\n    return items[::-1]", 1),
  "a tuple": ("class Solution:\n  def pairs(self, items):\n    return tuple(items[::-1])", 1),
  "a function without the class": ("def pairs(items):\n  return items[::-1]", 1),
  "floats": ("class Solution:\n  def pairs(self, items):\n    return [float(item) for item in items[::-1]]", 1),
  "one instance": (
    "class Solution:\n  n = 0\n"
    "  def pairs(self, items):\n    self.n += 1\n    return items[::-1] if self.n < 2 else [4, 3]",
    1,
  ),
  "another order": ("class Solution:\n  def pairs(self, items):\n    return items", 0),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_livecodebench(scorer, name):
  program, correct = METHODS[name]
  assert judged(scorer, PAIRS, program) == [correct]


def test_inner_tuples_and_near_floats_fail(scorer, training):
  tests = livecodebench([("1", "[[1, 0.3]]")], function="f")
  near, inner = "def f(x):\n  return [[1, 0.1 + 0.2]]", "def f(x):\n  return [(1, 0.3)]"
  assert judged(scorer, tests, near, inner) == [0, 0]
  assert judged(training, tests, near, inner) == [1, 1]


SCRIPT = """
def check(candidate):
  from random import choice
  assert candidate("ab") == "ab"
  for _ in range(50):
    text = "".join(choice("abcdef") for _ in range(12))
    assert candidate(encode(text)) == text
"""
PROMPT = "import math\n\ndef encode(s: str):\n  return s[::-1] if len(s) > 2 else s\n\ndef decode(s: str):\n"
ROW = {"task_id": "own/1", "entry_point": "decode", "prompt": PROMPT, "test": SCRIPT}
DECODERS = {
  "right": ("def decode(s):\n  return s[::-1] if len(s) > 2 else s", 1),
  "with the prompt's helper": ("def decode(s):\n  return encode(s)", 1),
  "with the prompt's import": ("def decode(s):\n  return s[::-1] if len(s) > math.e else s", 1),
  "wrong": ("def decode(s):\n  return s", 0),
  "an error": ("def decode(s):\n  return 1 / 0", 0),
  "no function": ("x = 1", 0),
  "the helper rebound": ("def encode(s):\n  return s\ndef decode(s):\n  return s", 0),
  "asserts on the judge's numbers": (
    "import random\nrandom.seed(0)\ndef decode(s):\n"
    "  return ''.join(random.choice('abcdef') for _ in range(12)) if len(s) > 2 else s",
    0,
  ),
  "an object that is always equal": (
    "class E(str):\n  def __eq__(self, o): return True\n  __hash__ = str.__hash__\ndef decode(s):\n  return E('x')",
    0,
  ),
  "no end": ("def decode(s):\n  while True: pass", 0),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_test_script_with_a_loop(scorer, name):
  program, correct = DECODERS[name]
  assert judged(scorer, ADAPTERS["humaneval"](ROW, "x").tests, program) == [correct]


def test_a_script_whose_calls_depend_on_the_values_gives_no_verdict(scorer):
  script = "def check(candidate):\n  n = candidate(1)\n  for i in range(n):\n    assert candidate(i + n) == i\n"
  tests = ADAPTERS["humaneval"](ROW | {"test": script, "entry_point": "f", "prompt": "def f(x):\n"}, "x").tests
  assert judged(scorer, tests, "def f(x):\n  return 3") == [None]


def test_the_first_failure_ends_a_response_where_the_config_says_so():
  cases = [{"input": str(number), "output": str(number)} for number in range(6)]
  asserts = {"type": "assert", "cases": ["assert f(1) == 1", "assert f(2) == 2"], "functions": ["f"]}
  script = "n = int(input())\nprint(n if n < 3 else 0)"
  with Scorer(workers=1, sandbox=OPTIONS, stop_at_failure=True) as running:
    for tests, program in (({"type": "stdin", "cases": cases}, script), (asserts, "def f(x):\n  return 1")):
      for name, text in (
        ("wrong", program),
        ("right", "print(input())" if "print" in program else "def f(x): return x"),
      ):
        response = f" x </think> <answer>```python\n{text}\n```</answer>"
        running.submit(ScoreRequest(name, "p", response, True, "code", tests=tests))
      wrong, right = running.collect().values()
      assert (wrong.correct, wrong.pass_fraction, right.correct, right.pass_fraction) == (0, None, 1, 1.0)
      assert wrong.reason == (
        "test 4 of 6: another output" if tests["type"] == "stdin" else "1 of 2 tests: another value"
      )


def by_pass_fraction(request, verdict):
  return _halved(verdict)


def _halved(verdict):
  return dataclasses.replace(verdict, reward=verdict.pass_fraction / 2)


def test_a_reward_that_reads_the_pass_fraction_is_refused_with_stop_at_failure():
  own = "tests.rewards.test_code_by_benchmark:by_pass_fraction"
  with pytest.raises(InputError, match=r"sandbox.stop_at_failure: expected False, because .*by_pass_fraction reads"):
    build_scorer(toy("x", reward__function=own, sandbox__stop_at_failure=True))
  build_scorer(toy("x", reward__function=own)).close()
  build_scorer(toy("x", sandbox__stop_at_failure=True)).close()


@pytest.mark.slow
def test_all_references_are_judged_right_by_both_rules(scorer, training, data_dir):
  for name, program in (("humaneval", _completed), ("mbpp", lambda row: row["code"])):
    rows = [json.loads(line) for line in (data_dir / f"{name}.jsonl").read_text().splitlines()]
    for judge in (scorer, training):
      refused = []
      for row in rows:
        tests = ADAPTERS[name](row, "x").tests
        try:
          judge.submit(ScoreRequest(str(row["task_id"]), "p", answered(program(row)), True, "code", tests=tests))
        except InputError:
          refused.append(row["task_id"])
      assert refused == ([596] if name == "mbpp" else [])  # compares with sys.getsizeof of an expected value
      wrong = {id: verdict.reason for id, verdict in judge.collect().items() if verdict.correct != 1}
      assert not wrong, (name, wrong)


def _completed(row):
  """Returns a program with only the function, as a model writes it, without the prompt's imports and helpers."""
  return row["prompt"][row["prompt"].index(f"def {row['entry_point']}(") :] + row["canonical_solution"]
