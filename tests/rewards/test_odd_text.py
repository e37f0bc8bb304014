"""Scores responses, programs, names and reasons that hold surrogates, NUL, terminal escapes or megabytes."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from srpo_jax.rewards.scorer import Scorer
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError
from tests.helpers.odd_text import ODD, PROGRAMS, answered, is_clean
from tests.helpers.paths import ROOT

TESTS = {"type": "assert", "cases": ["assert f(1) == 2"]}
RIGHT = r"</think><answer>\boxed{5}</answer>"


def score(folder, rows, *flags, status=0):
  """Runs the command on rows and returns its verdicts, its rejected rows and what it printed."""
  (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  command = [sys.executable, "-m", "srpo_jax.score", f"--input={folder}/in.jsonl", f"--out={folder}/out.jsonl", *flags]
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=600, check=False)
  shown = done.stdout.decode() + done.stderr.decode()
  assert done.returncode == status, shown
  assert "Traceback" not in shown and is_clean(shown.replace("\n", ""), 20_000), shown
  files = [folder / "out.jsonl", folder / "out.jsonl.rejected.jsonl"]
  verdicts, rejected = ([json.loads(x) for x in f.read_text("ascii").splitlines()] if f.exists() else [] for f in files)
  return verdicts, rejected, shown


def math(id, response):
  return {"id": id, "domain": "math", "prompt": "What is 2 + 3?", "response": response, "answer": "5"}


def code(id, response):
  return {"id": id, "domain": "code", "prompt": "Write f.", "response": response, "tests": TESTS}


def test_every_odd_response_is_judged_by_its_answer(tmp_path):
  wrong = [make(name, text) for name, text in ODD.items() for make in (math, code)]
  wrong += [math(name, f"I.</think><answer>\\boxed{{{text}}}</answer>") for name, text in ODD.items()]
  wrong += [code(name, answered(f"def f(x): return 3 * x  # {text}")) for name, text in ODD.items()]
  wrong += [code(name, answered(program)) for name, program in PROGRAMS.items() if name != "plain"]
  right = [math(text[:9], text + RIGHT) for text in ODD.values()]
  right += [code(text[:9], text + answered(PROGRAMS["plain"])) for text in ODD.values()]
  right += [math(1, RIGHT) | {"prompt": text, "question": text} for text in ODD.values()]
  verdicts, rejected, _ = score(tmp_path, wrong + right)
  assert rejected == [] and [row["id"] for row in verdicts] == [row["id"] for row in wrong + right]
  assert [row["correct"] for row in verdicts] == [0] * len(wrong) + [1] * len(right)
  unclean = [row for row in verdicts if not is_clean(row["reason"])]
  assert unclean == []


def test_reasons_and_errors_of_a_users_judge_are_cleaned(tmp_path):
  flags = ["--judges=puzzle=tests.helpers.judge_plugins:echo", "--workers=1"]
  rows = [{"id": name, "domain": "puzzle", "prompt": "?", "response": text} for name, text in ODD.items()]
  verdicts, _, _ = score(tmp_path, rows, *flags)
  assert len(verdicts) == len(ODD) and all(is_clean(row["reason"], 200) for row in verdicts)
  assert {row["id"]: row["reason"] for row in verdicts}["clear the screen"] == "\\x1b[2J\\x1b]0;title\\x07"
  bad = [row | {"response": "raise " + row["response"]} for row in rows if row["id"] == "clear the screen"]
  _, _, shown = score(tmp_path, bad, *flags, status=2)
  assert "echo failed on 1: ValueError: raise \\x1b[2J" in shown


def test_names_in_errors_are_cleaned(tmp_path):
  rows = [math(1, RIGHT) | {"domain": text} for text in ODD.values()]
  rows += [math(text, RIGHT) | {"answer": None} for text in ODD.values()]
  rows += [code(1, RIGHT) | {"tests": {"type": "assert", "cases": [f"assert {text}"]}} for text in ODD.values()]
  rows += [code(1, RIGHT) | {"tests": {"type": text, "cases": [1]}} for text in ODD.values()]
  _, rejected, _ = score(tmp_path, rows)
  assert len(rejected) == len(rows) and all(is_clean(row["reason"], 4000) for row in rejected)
  score(tmp_path, rows, "--explain", status=0)
  for name in ("surrogate", "clear the screen", "megabytes of escapes"):
    _, _, shown = score(tmp_path, [math(1, RIGHT) | {"domain": ODD[name]}], "--strict", status=2)
    assert len(shown.splitlines()) == 1 and shown.startswith("error: ") and "in.jsonl:1: " in shown, shown


@pytest.mark.parametrize("name", ODD)
def test_the_reason_that_a_reward_function_sets_is_cleaned(name):
  def quote(request, verdict):
    return dataclasses.replace(verdict, reason=f"said {request.response}")

  with Scorer(workers=1, function=quote) as scorer:
    scorer.submit(ScoreRequest("a", "?", ODD[name] + RIGHT, True, "math", "5"))
    (verdict,) = scorer.collect().values()
  assert verdict.correct == 1 and verdict.reason.startswith("said ") and is_clean(verdict.reason)


def test_a_reason_must_be_text():
  with Scorer(workers=1, function=lambda _, verdict: dataclasses.replace(verdict, reason=None)) as scorer:
    scorer.submit(ScoreRequest("a", "?", RIGHT, True, "math", "5"))
    with pytest.raises(InputError, match="field reason: expected text, found NoneType"):
      scorer.collect()
