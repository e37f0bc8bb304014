"""Tests that gold answers and reference programs are run and that findings are cached."""

import pytest

from srpo_jax.data.curation.candidate import Candidate
from srpo_jax.data.curation.config import VerifyConfig
from srpo_jax.data.curation.verify import Verifier
from srpo_jax.rewards.pool import Reply
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError, TrainingError

CONFIG = VerifyConfig(True, True, 1, 2.0, "unsafe", 512, "")
ASSERTS = {"type": "assert", "cases": ["assert f(1) == 2", "assert f(2) == 3"]}


def math(answer):
  return Candidate("s", 0, Problem("s/0", "math", "What?", answer=answer))


def code(program, tests=ASSERTS):
  return Candidate("s", 0, Problem("s/0", "code", "Write f.", tests=tests), program)


@pytest.fixture
def verify(tmp_path):
  def call(*candidates):
    with Verifier(CONFIG, tmp_path / "verified.sqlite") as verifier:
      return [finding.rule for _, finding in verifier.verify(iter(candidates))]

  return call


def test_gold_answers(verify):
  good = ["72", "\\frac{1}{2}", "3\\sqrt{2}", "(1,2)", "x^2+1", "50\\%", "[-2,7]", "\\text{Evelyn}", "1,000", "10:30"]
  bad = ["\\frac{1}{", "see the solution above, it is long", "", "}{", "</answer>"]
  assert dict(zip(good, verify(*map(math, good)), strict=True)) == dict.fromkeys(good, "")
  assert dict(zip(bad, verify(*map(math, bad)), strict=True)) == dict.fromkeys(bad, "gold")


def test_programs(verify):
  right = "def f(x):\n  return x + 1"
  empty_passes = {"type": "stdin", "cases": [{"input": "1", "output": ""}]}
  fenced = 'def f(x):\n  """```python"""\n  return x + 1'
  assert verify(code(right), code(None), code(fenced)) == ["", "", ""]
  assert verify(code("def f(x):\n  return x")) == ["reference_fails"]
  assert verify(code(None, empty_passes), code("pass", empty_passes)) == ["empty_program_passes"] * 2


def test_a_reference_that_passes_once_fails(tmp_path, monkeypatch):
  with Verifier(CONFIG, tmp_path / "v.sqlite") as verifier:
    passes = iter([True, False])  # like a program with a race or a random choice

    def run(tests, program, done):
      done(Reply(int(next(passes)) if program else 0, "played", 0.0))

    monkeypatch.setattr(verifier._code, "run", run)
    assert [finding.rule for _, finding in verifier.verify(iter([code("flaky")]))] == ["reference_fails"]


def test_cached_rows_are_not_verified_again(tmp_path, monkeypatch):
  cache = tmp_path / "verified.sqlite"
  rows = [math("72"), code("def f(x):\n  return x + 1"), math("\\frac{1}{")]
  with Verifier(CONFIG, cache) as verifier:
    before = [finding for _, finding in verifier.verify(iter(rows))]
  with Verifier(CONFIG, cache) as verifier:
    monkeypatch.setattr(verifier, "_replies", lambda todo: pytest.fail(f"asked again: {todo}"))
    assert [finding for _, finding in verifier.verify(iter(rows))] == before


def test_rows_of_different_content_have_different_keys(tmp_path):
  with Verifier(CONFIG, tmp_path / "v.sqlite") as verifier:
    keys = {
      verifier._key(row)
      for row in (math("1"), math("2"), code("a"), code("b"), code("a", {**ASSERTS, "functions": ["f"]}))
    }
  assert len(keys) == 5


def test_a_timeout_is_judged_twice_and_not_cached(tmp_path, monkeypatch):
  with Verifier(CONFIG, tmp_path / "v.sqlite") as verifier:
    asked = []

    def late(todo):
      asked.append(len(todo))
      return {key: {"gold": Reply(0, "took over 2 s", 2.0, False)} for key in todo}

    monkeypatch.setattr(verifier, "_replies", late)
    assert [f.rule for _, f in verifier.verify(iter([math("72")]))] == ["gold"] and asked == [1, 1]
    assert verifier._cache.get([verifier._key(math("72"))]) == {}


def test_rows_that_cannot_be_judged_raise_and_are_not_dropped(tmp_path, monkeypatch):
  with Verifier(CONFIG, tmp_path / "v.sqlite") as verifier:
    monkeypatch.setattr(verifier, "_replies", lambda todo: {k: {"gold": Reply(None, "no worker", 0.0)} for k in todo})
    with pytest.raises(TrainingError, match="row s/0: could not be verified: no worker"):
      list(verifier.verify(iter([math("72")])))


def test_a_file_that_is_not_a_cache_is_named(tmp_path):
  (tmp_path / "v.sqlite").write_text("not a database, but long enough to be looked at as one " * 20)
  with pytest.raises(InputError, match=r"v.sqlite: not a cache of verified rows"):
    Verifier(CONFIG, tmp_path / "v.sqlite")
