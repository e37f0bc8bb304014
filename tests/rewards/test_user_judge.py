"""User-defined judges: the data that they receive, the process that runs them, and every way in which they can fail."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import textwrap

import pytest

from srpo_jax.rewards.format import format_ok
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rewards.user_judge import check_judges, parse_judges
from srpo_jax.score import main as score
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.utils.errors import InputError
from tests.helpers import judge_plugins
from tests.helpers.paths import ROOT

RESPONSE = "I add.</think><answer>5</answer>"
TOLD = {"puzzle": "tests.helpers.judge_plugins:told"}
OBEDIENT = {"puzzle": "tests.helpers.judge_plugins:obedient"}


def request(id: str, response: str = RESPONSE, *, ended: bool = True, **extra: object) -> ScoreRequest:
  problem = Problem(f"of-{id}", "puzzle", "Solve it.", "27", {"any": [1]}, extra=extra)
  return ScoreRequest(id, "Solve it.", response, ended, "puzzle", problem=problem)


def verdict(judges: dict[str, str] = OBEDIENT, *, timeout_s: float = 60, **extra: object):
  with Scorer(workers=1, timeout_s=timeout_s, judges=judges) as scorer:
    scorer.submit(request("a", **extra))
    return scorer.collect()["a"]


def test_the_row_and_the_response_reach_the_judge_in_another_process(monkeypatch):
  monkeypatch.setattr(judge_plugins, "SECRET", ["here"])
  with Scorer(workers=1, judges=TOLD) as scorer:
    scorer.submit(request("a", "ünformed", clue={"of": [1, None, 2.5]}))
    found = scorer.collect()["a"]
    pids = scorer.worker_pids()
  got = ["of-a", "puzzle", "Solve it.", "27", {"any": [1]}, {"clue": {"of": [1, None, 2.5]}}, "ünformed"]
  assert found.reason == f"{pids[0]} 0 {got!r}" and pids[0] != os.getpid()
  assert (found.correct, found.pass_fraction, found.format, found.reward) == (1, 0.5, 0, 1.0)


def test_a_long_row_and_response_reach_the_judge():
  """A pipe holds only 64 KiB, so the worker must read while the message is being sent."""
  long = "x" * 3_000_000
  with Scorer(workers=1, timeout_s=60, judges={"puzzle": "tests.helpers.judge_plugins:obedient"}) as scorer:
    scorer.submit(request("a", long, do="", text=long, value="Judgement(1, reason=str(3))"))
    assert scorer.collect()["a"].reason == "3"


@pytest.mark.parametrize(
  ("value", "correct", "fraction", "reason"),
  [
    ("Judgement(1)", 1, None, ""),
    ("Judgement(True, 1, 'yes')", 1, 1.0, "yes"),
    ("Judgement(False, 0.0, 'a\\nb  c')", 0, 0.0, "a b c"),
    ("Judgement(None, None, 'nobody knows')", None, None, "nobody knows"),
    ("Judgement(1, reason='x' * 10**7)", 1, None, "x" * 197 + "..."),
    ("Judgement(0, reason='\\ud800')", 0, None, "\\ud800"),
  ],
)
def test_the_result_of_a_judge_becomes_the_verdict(value, correct, fraction, reason):
  found = verdict(do="", value=value)
  assert (found.correct, found.pass_fraction, found.reason) == (correct, fraction, reason)
  assert math.isnan(found.reward) if correct is None else found.reward == pytest.approx(correct + 0.1)


def test_a_judge_has_no_standard_input_or_output():
  assert verdict(do="print", value="Judgement(0, reason='printed')").reason == "printed"


@pytest.mark.parametrize(
  ("do", "reason"),
  [
    ("sleep", "took over 2 s"),
    ("exit", "the worker died: exit status 7"),
    ("leave", "the worker died: exit status 3"),
    ("fill memory", "out of memory"),
  ],
)
def test_a_response_that_stops_the_judge_is_wrong_and_the_next_is_judged(do, reason):
  with Scorer(workers=1, timeout_s=2, judges=OBEDIENT) as scorer:
    scorer.submit(request("a", do=do))
    scorer.submit(request("b", do="", value="Judgement(1, reason='next')"))
    found = scorer.collect()
  assert (found["a"].correct, found["a"].reason, found["a"].reward) == (0, reason, pytest.approx(0.1))
  assert (found["b"].correct, found["b"].reason) == (1, "next")


@pytest.mark.parametrize(
  ("do", "value", "message"),
  [
    ("raise", "", "failed on a: ValueError: no such puzzle"),
    ("recurse", "", "failed on a: RecursionError: "),
    ("", "True", "on a: expected a Judgement, found bool"),
    ("", "{'correct': 1}", "on a: expected a Judgement, found dict"),
    ("", "None", "on a: expected a Judgement, found NoneType"),
    ("", "Judgement(2)", "on a: field correct: expected 0, 1 or None, found 2"),
    ("", "Judgement('1')", "on a: field correct: expected 0, 1 or None, found '1'"),
    ("", "Judgement(1.0)", "on a: field correct: expected 0, 1 or None, found 1.0"),
    ("", "Judgement(1, 1.5)", "on a: field pass_fraction: expected a number from 0 to 1 or None, found 1.5"),
    ("", "Judgement(1, nan)", "on a: field pass_fraction: expected a number from 0 to 1 or None, found nan"),
    ("", "Judgement(1, True)", "on a: field pass_fraction: expected a number from 0 to 1 or None, found True"),
    ("", "Judgement(1, reason=5)", "on a: field reason: expected text, found int"),
  ],
)
def test_an_error_of_a_judge_ends_the_run_and_names_the_judge(do, value, message):
  with pytest.raises(
    InputError, match=re.escape(f"reward judge puzzle=tests.helpers.judge_plugins:obedient {message}")
  ):
    verdict(do=do, value=value)


def test_an_error_is_raised_while_other_responses_are_still_being_judged():
  with Scorer(workers=2, timeout_s=500, judges=OBEDIENT) as scorer:
    scorer.submit(request("slow", do="sleep"))
    scorer.submit(request("a", do="raise"))
    with pytest.raises(InputError, match="failed on a: ValueError"):
      scorer.collect()


def test_a_judge_that_only_workers_cannot_import_ends_the_run(tmp_path, monkeypatch):
  (tmp_path / "picky.py").write_text(
    "import sys\nif 'srpo_jax.rewards.worker' in sys.orig_argv:\n  raise OSError('not here')\ndef judge(p, r): pass\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  check_judges("puzzle=picky:judge")
  with pytest.raises(InputError, match=r"reward judge puzzle=picky:judge: .*OSError: not here \(in a worker process\)"):
    verdict({"puzzle": "picky:judge"})


def test_a_judge_is_found_where_the_caller_finds_it_and_shadows_no_library(tmp_path):
  """The working directory also holds a file with the name of a library that the workers import."""
  (tmp_path / "sympy.py").write_text("raise OSError('taken for sympy')\n")
  (tmp_path / "own_judge.py").write_text(
    "from srpo_jax.types import Judgement\ndef judge(p, r): return Judgement(1, reason=p.id)\n"
  )
  program = """
    from srpo_jax.rewards.scorer import Scorer
    from srpo_jax.types import Problem, ScoreRequest
    with Scorer(workers=1, judges={"puzzle": "own_judge:judge"}) as scorer:
      scorer.submit(ScoreRequest("a", "?", "5", True, "puzzle", problem=Problem("own", "puzzle", "?")))
      response = r"</think><answer>\\boxed{\\sqrt{3}+2}</answer>"
      scorer.submit(ScoreRequest("b", "?", response, True, "math", r"2+\\sqrt{3}"))
      found = scorer.collect()
    print(found["a"].reason, found["b"].correct)
  """
  command = [sys.executable, "-c", textwrap.dedent(program)]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
  assert done.stdout.split() == ["own", "1"], done.stderr


def test_the_format_needs_the_tags_and_with_the_json_validator_json():
  with Scorer(workers=1, judges=TOLD) as scorer:
    for name, response in {"good": RESPONSE, "blank": "So.</think><answer> </answer>", "plain": "5"}.items():
      scorer.submit(request(name, response))
    scorer.submit(request("cut", ended=False))
    found = scorer.collect()
  assert {name: v.format for name, v in found.items()} == {"good": 1, "blank": 0, "plain": 0, "cut": 0}
  assert (found["cut"].correct, found["cut"].reason, found["cut"].pass_fraction) == (0, "truncated", None)
  for answer, kept in (('{"answer": 5}', True), ("5", False), ('{"answer": ""}', False)):
    response = f"So.</think><answer>{answer}</answer>"
    assert format_ok(response, ended=True, domain="puzzle", validator="json") is kept


def test_requests_that_cannot_be_judged_are_refused():
  with Scorer(workers=1, judges=TOLD) as scorer:
    with pytest.raises(InputError, match="request a: domain 'maze' has no judge, expected one of: math, code, puzzle"):
      scorer.submit(dataclasses.replace(request("a"), domain="maze"))
    with pytest.raises(InputError, match="request a: field problem: expected a Problem, found None"):
      scorer.submit(dataclasses.replace(request("a"), problem=None))
    with pytest.raises(InputError, match="request a: field problem: expected values that JSON can hold"):
      scorer.submit(request("a", odd={1, 2}))
    assert scorer.collect() == {}


def test_several_judges_are_separated_by_commas():
  assert parse_judges("") == {}
  assert parse_judges(" puzzle = a.b:c , maze=d:e") == {"puzzle": "a.b:c", "maze": "d:e"}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a:b", "'a:b': expected DOMAIN=module:function"),
    ("puzzle=a", "'puzzle=a': expected DOMAIN=module:function"),
    ("../x=a:b", "'../x=a:b': expected DOMAIN=module:function"),
    ("math=a:b", "'math=a:b': math has a judge already"),
    ("reward=a:b", "'reward=a:b': reward is the name of a group of metrics"),
    ("puzzle=a:b,puzzle=a:c", "'puzzle=a:c': domain puzzle has a judge already, a:b"),
    ("puzzle=nowhere_at_all:b", "nowhere_at_all:b: importing nowhere_at_all failed"),
    ("puzzle=tests.helpers.judge_plugins:gone", "tests.helpers.judge_plugins has no gone"),
  ],
)
def test_malformed_judge_lists_are_refused(text, message):
  with pytest.raises(InputError, match=re.escape(message)):
    check_judges(text)


def test_a_file_of_responses_is_scored(tmp_path):
  rows = [
    {"id": 1, "domain": "puzzle", "prompt": "Long text", "response": RESPONSE, "question": "Solve.", "clue": [2]},
    {"id": "b", "domain": "puzzle", "prompt": "Long text", "response": "<|endoftext|>"},
    {"id": "c", "domain": "maze", "prompt": "?", "response": RESPONSE},
  ]
  (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  paths = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
  score([*paths, "--judges=puzzle=tests.helpers.judge_plugins:told", "--workers=1"])
  first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
  assert first["reason"].endswith(f" 0 {['1', 'puzzle', 'Solve.', None, None, {'clue': [2]}, RESPONSE]!r}")
  assert second["reason"].endswith(f" 0 {['b', 'puzzle', 'Long text', None, None, {}, '']!r}")
  assert "'maze' has no judge" in (tmp_path / "out.jsonl.rejected.jsonl").read_text()
  with pytest.raises(InputError, match="expected DOMAIN=module:function"):
    score([*paths, "--judges=told"])
