"""Code responses through the scorer: honest programs pass, cheating ones fail, and sandbox failures give None."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from srpo_jax.data.sources import ADAPTERS
from srpo_jax.rewards import code
from srpo_jax.rewards.cases import turn
from srpo_jax.rewards.code import CodeJudge, runnable, stated_program
from srpo_jax.rewards.execution import call_values
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import Outcome, SandboxOptions
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.utils.errors import InputError
from tests.helpers.processes import wait_until

TESTS = {"type": "assert", "cases": ["assert f(1) == 2", "assert f(2) == 4", "assert f(3) == 6", "assert f(0) == 0"]}


def answered(program: str) -> str:
  return f"I write.</think><answer>```python\n{program}\n```</answer>"


def request(id: str, program: str, tests=TESTS, **fields) -> ScoreRequest:
  response = fields.pop("response", answered(program))
  return ScoreRequest(id, "Write f.", response, fields.pop("ended", True), "code", None, tests)


@pytest.fixture(scope="module", params=["namespaces", "bubblewrap"])
def scorer(request):
  options = SandboxOptions(min_tier="bubblewrap", tier=request.param, slots=2, timeout_s=8)
  with Scorer(workers=1, sandbox=options) as running:
    assert running.start_sandbox().tier == request.param
    yield running


@pytest.fixture(scope="module")
def best():
  with Scorer(workers=1, sandbox=SandboxOptions(min_tier="namespaces", slots=2, timeout_s=2)) as running:
    yield running


def verdicts(scorer: Scorer, *requests: ScoreRequest):
  for one in requests:
    scorer.submit(one)
  return list(scorer.collect().values())


def test_programs_run_after_the_prelude_of_their_problem(best):
  """LiveCodeBench's starter code needs names that it does not import. A program's own names override the prelude."""
  row = {"question_id": "q", "question_content": "Add.", "starter_code": "class Solution:", "public_test_cases": "[]"}
  calls = [{"input": "[1, 2]\n2", "output": "6", "testtype": "functional"}]
  scripts = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
  method, script = (
    ADAPTERS["livecodebench"](row | {"metadata": '{"func_name": "add"}', "private_test_cases": json.dumps(cases)}, "")
    for cases in (calls, scripts)
  )
  body = "class Solution:\n  def add(self, xs: List[int], k: int) -> int:\n    return "
  programs = {
    "starter": body + "sum(xs) + math.floor(Counter(xs)[1]) + k",
    "future": "from __future__ import annotations\n" + body + "sum(xs) + 3",
    "own": "def gcd(a, b): return 6\n" + body + "gcd(1, 2)",
    "builtins": body + "6 if pow(2, 3, 5) == 3 else 0",
    "wrong": body + "sum(xs)",
  }
  found = verdicts(best, *(request(name, program, method.tests) for name, program in programs.items()))
  assert [v.correct for v in found] == [1, 1, 1, 1, 0], [v.reason for v in found]
  reading = "print(reduce(add, map(int, stdin.readline().split())))"
  bare = {name: value for name, value in script.tests.items() if name != "prelude"}
  found = verdicts(best, request("script", reading, script.tests), request("bare", reading, bare))
  assert [v.correct for v in found] == [1, 0] and "NameError" in found[1].reason


@pytest.mark.parametrize("prelude", ["x = 1", "import (", ["import math"], 3])
def test_a_prelude_may_only_import(prelude):
  with pytest.raises(InputError, match=r"field tests\.prelude: expected the text of import statements"):
    turn(TESTS | {"prelude": prelude})
  refused = runnable([Problem("p", "code", "?", None, TESTS | {"prelude": "import numpy"})])[1]
  assert refused["p"].startswith("field tests: import numpy")


def test_verdicts_hold_the_fraction_of_passed_tests(best):
  found = verdicts(
    best,
    request("right", "def f(x): return 2 * x"),
    request("half", "def f(x): return x * x"),
    request("dies", "def f(x):\n  if x == 3: raise ValueError\n  return 2 * x"),
    request("none", "def g(x): pass"),
    request("syntax", "def f(x) return"),
    request("spins", "def f(x):\n  while x == 2: pass\n  return 2 * x"),
  )
  assert [(v.correct, v.pass_fraction) for v in found] == [(1, 1.0), (0, 0.5), (0, 0.75), (0, 0.0), (0, 0.0), (0, 0.25)]
  reasons = [v.reason for v in found]
  assert reasons[0] == "passed" and "3 of 4 tests: ValueError" in reasons[2] and "NameError" in reasons[3]
  assert "SyntaxError" in reasons[4] and "1 of 4 tests: took too long" in reasons[5]
  assert [v.reward for v in found[:2]] == [pytest.approx(1.1), pytest.approx(0.1)]
  assert all(v.format == 1 for v in found)


FORMS = [  # a correct program, a wrong program and the tests
  ("def f(x): return 2 ** x", "def f(x): return 2 * x", "assert f(100) == 2 ** 100"),
  ("def f(x): return 3 ** x", "def f(x): return x", "assert f(3000) == 3 ** 3000 and len(str(f(200))) > 90"),
  ("def f(x): return [x]", "def f(x): return [0]", "assert sum(f(1), 2) == 3\nassert sum(f(1), start=5) == 6"),
  ("def f(x): return x / 3", "def f(x): return x", "assert 0.3 < f(1) < 0.4 != f(2)"),
  ("def f(x): return [x]", "def f(x): return []", "assert not f(1) == []\nassert len(f(1)) == 1, f'message {1}'"),
  ("def f(*, n=0): return n", "def f(*, n=0): return 0", "assert f(n=3) == 3 and f(**{'n': 4}) == 4"),
  ("def f(x): return x", "def f(x): return 0", "x = [1, 2]\nassert f(x)[::-1] == [2, 1] and f(x) is not None"),
  ("def f(x): return x", "def f(x): return 'b'", "assert f('a') in ['a', 'c'] and f('a') not in 'bcd'"),
  ("def f(x): return x + 1e-9", "def f(x): return x + 1e-2", "import math\nassert math.isclose(f(2.0), 2.0)"),
  ("def f(x): return x + 1e-9", "def f(x): return x - 1e-2", "from math import isclose\nassert isclose(f(1.5), 3 / 2)"),
  ("def f(x): return x", "def f(x): return [x]", "from math import *\nassert f(floor(1.5)) == 1"),
  ("import itertools\ndef f(x): return itertools.chain(x, x)", "def f(x): return x", "assert list(f([1])) == [1, 1]"),
  ("from itertools import *\ndef f(x): return permutations(x)", "def f(x): return ''", "assert len(set(f('ab'))) == 2"),
  ("def f(x): return iter({1: x}.items())", "def f(x): return iter([x])", "assert sorted(f(2)) == [(1, 2)]"),
  ("from collections import deque as d\ndef f(x): return d(x)", "def f(x): return []", "assert list(f([3])) == [3]"),
  ("def f(x): return iter(b'ab')", "def f(x): return iter(b'b')", "assert max(f(1)) == 98 and tuple(f(1)) == (97, 98)"),
  ("class A:\n  def g(self): return [1]", "class A:\n  def g(self): return [2]", "assert A().g() == [1]"),
  ("def f(x): return x\ndef g(x): return x", "def f(x): return 1\ndef g(x): return x", "assert f(g('a')) == 'a'"),
  ("def f(x): return (x, [x])", "def f(x): return [x, [x]]", "assert f(1) == (1, [1])"),
  ("def f(x): return {x: -0.0}", "def f(x): return {x: None}", "assert f(1) == {1: 0.0}"),
  ("def f(x): return b'a'", "def f(x): return 'a'", "assert f(1) == b'a'"),
  ("def f(x): return '\\udc80'", "def f(x): return '?'", "assert f(1) == '\\udc80'"),
  ("def f(x): return {1, True, x}", "def f(x): return [1, x]", "assert f(2) == {2, 1}"),
  ("def f(x): return None", "def f(x): return False", "assert f(1) is None"),
  ("def f(x): return True", "def f(x): return 0", "assert f(1) == 1"),
  ("def f(x): return 7", "def f(x): return None", "assert abs(f(1) - 7) < 1e-6 and round(f(1) / 3, 2) == 2.33"),
  ("def f(x): return x or exit()", "def f(x): return exit()", "assert f(1) == 1"),
]


@pytest.mark.parametrize(("right", "wrong", "tests"), FORMS, ids=lambda text: text[-30:])
def test_checks_agree_with_asserts_run_by_python(best, right, wrong, tests):
  """The oracle runs program and asserts unchanged in a separate process. The programs above are safe to run."""
  found = verdicts(
    best, *(request(str(n), p, {"type": "assert", "cases": [tests]}) for n, p in enumerate((right, wrong)))
  )
  texts = [f"{program}\n{tests}\nprint('held')" for program in (right, wrong)]
  real = [subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, check=False).stdout for text in texts]
  assert [v.correct for v in found] == [int(out == b"held\n") for out in real] == [1, 0], [v.reason for v in found]


def test_a_truncated_response_or_one_without_a_program_is_wrong(best):
  found = verdicts(
    best,
    request("cut", "", response="def f", ended=False),
    request("no answer", "", response="</think>```python\nx\n```"),
    request("two", "", response=answered("a = 1\n```\n```python\nb = 2")),
  )
  assert [(v.correct, v.pass_fraction, v.reason) for v in found] == [
    (0, 0.0, "truncated"),
    (0, 0.0, "no single program in the <answer>"),
    (0, 0.0, "no single program in the <answer>"),
  ]


@pytest.mark.parametrize(
  ("body", "program"),
  [
    ("```python\nx = 1\n```", "x = 1\n"),
    ("So:\n```py\nx = 1\n```\ndone", "x = 1\n"),
    ("```\nx = 1\n```", "x = 1\n"),
    ("x = 1", "x = 1"),
    ("```Python\nx = 1\n```", "x = 1\n"),
    ("``` PY3 \nx = 1\n```", None),
    ('```PYTHON3 title="a.py"\nx = 1\n```', "x = 1\n"),
    ("```py {1,3}\nx = 1\n```", "x = 1\n"),
    ("n = 1\nu = 2\n\ttan = 3", "n = 1\nu = 2\n\ttan = 3"),  # \nu and \ttan are no LaTeX in a program
    ("```python\nx = 1", None),
    ("```rust\nx\n```", None),
    ("```python\n\n```", None),
    ("  ", None),
  ],
)
def test_the_program_of_a_response(body, program):
  assert stated_program(f"</think><answer>{body}</answer>", "tags") == program
  if program is not None:
    assert stated_program(f"</think><answer>{json.dumps({'answer': body})}</answer>", "json") == program
  assert stated_program("</think><answer>[1]</answer>", "json") is None
  assert stated_program('</think><answer>{"answer": ["x"]}</answer>', "json") is None


def test_functions_methods_and_scripts(best):
  cases = [{"args": [[1, 2], {"a": (1,)}], "expected": [2, [1]]}, {"args": [[], {}], "expected": [0, []]}]
  function = {"type": "function", "entry_point": "f", "cases": cases}
  method = function | {"entry_point": "Solution.f"}
  script = {"type": "stdin", "cases": [{"input": "1 2\n", "output": "3\n"}, {"input": "5 5", "output": "10"}]}
  body = "f({0}xs, d):\n  {1}return len(xs), [v for t in d.values() for v in t]"
  found = verdicts(
    best,
    request("function", "def " + body.format("", ""), function),
    request("method", "class Solution:\n  n = 0\n  def " + body.format("self, ", "  "), method),
    request("wrong", "def f(xs, d): return [2, [1]]", function),
    request("script", "print(sum(map(int, input().split())))", script),
    request("crash", "a, b = map(int, input().split())\nprint(a + b)\nif a == 5: raise SystemExit(3)", script),
    request("main", "if __name__ == '__main__':\n  print(eval(input().replace(' ', '+')))", script),
  )
  assert [(v.correct, v.pass_fraction) for v in found] == [(1, 1), (1, 1), (0, 0.5), (1, 1), (0, 0.5), (1, 1)]
  assert found[4].reason == "1 of 2 tests: exit status 3"


def test_the_tests_are_checked_before_anything_runs(best):
  with pytest.raises(InputError, match=r"request a: field tests.cases\[0\]: cannot be turned into calls"):
    best.submit(request("a", "x", {"type": "assert", "cases": ["while f(1): pass"]}))
  with pytest.raises(InputError, match="request b: field tests: expected an object"):
    best.submit(request("b", "x", None))
  assert best.collect() == {}


def test_runnable_separates_problems_that_cannot_be_judged():
  good = Problem("a", "code", "?", tests=TESTS)
  bad = Problem("b", "code", "?", tests={"type": "assert", "cases": ["import os"]})
  kept, refused = runnable([good, bad, Problem("c", "math", "?", answer="1")])
  assert [p.id for p in kept] == ["a", "c"] and list(refused) == ["b"] and "expected an assert" in refused["b"]


def test_tests_that_import_forbidden_modules_are_refused(best):
  cases = ["import numpy as np", "from math import pi", "assert f(1) == 1"]
  problem = Problem("a", "code", "?", tests={"type": "assert", "cases": cases, "functions": ["f"]})
  assert "import numpy, which is not among the allowed packages" in runnable([problem])[1]["a"]
  assert runnable([problem], packages=["numpy"]) == ([problem], {})
  with pytest.raises(InputError, match="request a: field tests: import numpy"):
    best.submit(request("a", "x", problem.tests))


def test_a_sandbox_that_fails_gives_none_and_no_reward(best, monkeypatch):
  sandbox = best.start_sandbox()
  monkeypatch.setattr(sandbox, "submit", lambda job, done: done(Outcome(None, "no space left")))
  (found,) = verdicts(best, request("a", "def f(x): return 2 * x"))
  assert (found.correct, found.pass_fraction, found.reason) == (None, None, "the sandbox failed: no space left")
  assert found.reward != found.reward


def test_a_dead_supervisor_in_the_middle_of_a_batch_loses_no_verdict(best):
  for number in range(60):
    best.submit(request(str(number), f"import time\ntime.sleep(0.02)\ndef f(x): return 2 * x + {number % 2}"))
    if number == 30:
      os.kill(best.start_sandbox().pids()[0], signal.SIGKILL)
  assert [v.correct for v in best.collect().values()] == [1 - number % 2 for number in range(60)]


def test_math_requests_start_no_sandbox():
  with Scorer(workers=1) as running:
    running.submit(ScoreRequest("a", "", r"x</think><answer>\boxed{5}</answer>", True, "math", "5"))
    running.collect()
    assert len(running.worker_pids()) <= 1


def mbpp(folder: Path):
  """Yields the reference program and the problem of every row."""
  for line in (folder / "mbpp.jsonl").read_text().splitlines():
    row = json.loads(line)
    yield row["code"], ADAPTERS["mbpp"](row, "?")


def humaneval(folder: Path):
  for line in (folder / "humaneval.jsonl").read_text().splitlines():
    row = json.loads(line)
    yield row["prompt"] + row["canonical_solution"], ADAPTERS["humaneval"](row, "?")


def passing(scorer: Scorer, pairs) -> set[str]:
  """Returns the ids of the problems whose program is judged correct."""
  for program, problem in pairs:
    scorer.submit(request(problem.id, program, problem.tests))
  found = scorer.collect()
  assert all(v.correct is not None for v in found.values())
  return {id for id, v in found.items() if v.correct == 1}


def altered(program: str, names) -> str:
  """Returns a program whose functions `names` return changed values."""
  lines = [program, "def _altered(g):", "  def h(*a, **k):", "    v = g(*a, **k)"]
  lines += ["    if isinstance(v, bool): return not v", "    if isinstance(v, (int, float)): return 3 * v + 1"]
  lines += ["    return ['altered', str(v)]", "  return h"]
  return "\n".join(lines + [f"{name} = _altered({name})" for name in names]) + "\n"


def functions(program: str) -> list[str]:
  return [node.name for node in ast.parse(program).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.slow
def test_mbpp_reference_programs_pass(scorer, data_dir):
  pairs, refused = _turned(mbpp(data_dir))
  assert len(pairs) + len(refused) == 399
  assert len(passing(scorer, pairs)) >= 377


def test_humaneval_canonical_solutions_pass(scorer, data_dir):
  pairs, _ = _turned(humaneval(data_dir))
  assert len(pairs) >= 113
  assert len(passing(scorer, pairs)) == len(pairs)


def _turned(pairs):
  pairs = list(pairs)
  kept, refused = runnable([problem for _, problem in pairs])
  ids = {problem.id for problem in kept}
  return [pair for pair in pairs if pair[1].id in ids], refused


@pytest.mark.parametrize("source", [mbpp, humaneval])
def test_programs_that_skip_the_work_fail(best, data_dir, source):
  pairs, _ = _turned(source(data_dir))
  empty = [("# nothing", problem) for _, problem in pairs]
  passes = [("\n".join(f"def {name}(*a, **k): pass" for name in functions(p)), problem) for p, problem in pairs]
  others = [(_printing(pairs[index - 1][1]), problem) for index, (_, problem) in enumerate(pairs)]
  for name, cheats in (("empty", empty), ("pass", passes), ("prints another's", others)):
    assert passing(best, cheats) == set(), name


@pytest.mark.parametrize("source", [mbpp, humaneval])
def test_altered_returns_fail(best, data_dir, source):
  pairs, _ = _turned(source(data_dir))
  cheats = [(altered(program, _called(problem)), problem) for program, problem in pairs]
  cheats = [(p, problem) for (p, problem), (program, _) in zip(cheats, pairs, strict=True) if _only_functions(program)]
  assert len(cheats) > 0.9 * len(pairs)
  assert passing(best, cheats) == set()


def _called(problem: Problem) -> set[str]:
  """Returns the functions that the tests call directly.

  Their helpers stay unaltered, because a value that is altered twice may be the original one.
  """
  suite = turn(problem.tests)
  if suite.script is not None:
    return {suite.script.entry_point}
  calls = [ast.parse(call["expression"], mode="eval").body for call in suite.calls]
  return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


def _only_functions(program: str) -> bool:
  return not any(isinstance(node, ast.ClassDef) for node in ast.parse(program).body)


def _printing(problem: Problem) -> str:
  return f"print({problem.tests['cases'][-1]!r})\n"


def test_scripts_that_print_the_answer_of_another_test_fail(best):
  tests = {"type": "stdin", "cases": [{"input": str(n), "output": str(n * n)} for n in range(5)]}
  found = verdicts(best, *(request(str(n), f"print({n * n})", tests) for n in range(5)))
  assert [(v.correct, v.pass_fraction) for v in found] == [(0, 0.2)] * 5


def test_the_first_result_of_a_call_counts_and_malformed_lines_are_skipped():
  lines = [b'[0, "value", 1]', b'[0, "value", 2]', b"\xff", b'["0", "value", 3]']
  lines += [b'[7, "value", 3]', b'[1, "error", [1]]']
  values, errors = call_values(b"\n".join(lines), 8)
  assert (values, errors) == ({0: 1, 7: 3}, {1: "error"})
  assert call_values(b'[3, "value", 1]\n[-2, "value", 1]\n[true, "value", 5]', 2) == ({}, {})


def test_suites_are_cached_by_the_identity_of_the_tests(monkeypatch):
  judge = CodeJudge("tags", SandboxOptions())
  monkeypatch.setattr(code, "SUITES", 2)
  turned = []
  real = code.turn
  monkeypatch.setattr(code, "turn", lambda tests, **rules: turned.append(1) or real(tests, **rules))
  for tests in (TESTS, TESTS, dict(TESTS), TESTS):
    assert len(judge._suite(tests)) == 4
  assert len(turned) == 2


def test_scoring_runs_in_the_background(best):
  """Verdicts arrive before `collect` is called."""
  for number in range(10):
    best.submit(request(str(number), "def f(x): return 2 * x"))
  wait_until(lambda: best.judged == 10)
  assert all(v.correct == 1 for v in best.collect().values())


def test_many_threads_may_submit_to_a_judge(best):
  judge, found = best._code, []
  lock = threading.Lock()

  def take(reply):
    with lock:
      found.append(reply.correct)

  def ask():
    for _ in range(10):
      judge.submit(request("x", "def f(x): return 2 * x"), take)

  threads = [threading.Thread(target=ask) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  wait_until(lambda: len(found) == 40)
  assert found == [1] * 40
