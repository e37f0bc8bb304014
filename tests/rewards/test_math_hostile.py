"""Hostile answers and noise, which the reader must decide quickly and without a worker."""

import json
import random
import time

import pytest

from srpo_jax.rewards import judges
from srpo_jax.rewards.answers import echo
from srpo_jax.rewards.answers.form import Form
from srpo_jax.rewards.math import screen_stated
from srpo_jax.rewards.scorer import Scorer
from tests.helpers.scorers import request

HOSTILE = [
  "9^{9^9}",
  "9^{9^{9^{9^9}}}",
  "2^{100000}",
  "(2^{99})^{99}",
  "2^{-99999999}",
  "0.1^{99999}",
  "9999!",
  "5!!!!!!!!",
  "((99!)!)!",
  r"\binom{9999999}{444444}",
  r"\sum_{k=1}^{10^9}k",
  r"\prod_{k=1}^{10^9}k",
  r"\int_0^1 x^{x^x}dx",
  r"\lim_{n\to\infty}(1+\frac1n)^n",
  "(x+1)^{99999}",
  "(a+b+c+d)^{999}",
  r"\frac{1}{" * 50 + "1" + "}" * 50,
  r"\frac" * 80 + "11",
  r"\sqrt{" * 30 + "2" + "}" * 30,
  r"\sqrt" * 60 + "2",
  "{" * 100 + "5" + "}" * 100,
  "(" * 100 + "5" + ")" * 100,
  "{" * 100_000,
  "}" * 100_000,
  "5" * 100_000,
  "1+" * 50_000 + "1",
  "-" * 200 + "5",
  "5" + "=5" * 100,
  "5," * 120 + "5",
  r"\pm" * 60 + "5",
  "5" + r"\text{ or }5" * 18,
  r"\text{" * 40 + "5" + "}" * 40,
  r"2\frac{" * 15 + "1" + "}{2}" * 15,
  "x" * 250,
  "|" * 250,
  "\x00" * 100,
  "\ud800",
  "\u202e5",
  "५",
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: ascii(answer[:20]))
def test_hostile_answers_are_decided_quickly_without_a_worker(answer: str) -> None:
  begin = time.thread_time()
  for gold in ("5", r"2\sqrt{3}", "x^2+1", "2^{10}", r"(1,2)\cup(3,4)", "1,2", "even"):
    assert screen_stated(answer, gold)[0] == 0
  assert time.thread_time() - begin < 5


@pytest.mark.parametrize(
  "unit",
  [r"\sqrt", r"\frac", r"\sin", "(", "{", r"\{", "(1,", "-", "|", "2^", "x/", "x!", "1+"],
)
def test_a_long_gold_admits_no_deep_answer(unit: str) -> None:
  """An answer may be twice as long as a long gold answer, but its nesting is still bounded."""
  begin = time.thread_time()
  assert screen_stated(unit * 700 + "2", "1+" * 1000 + "1")[0] == 0
  assert time.thread_time() - begin < 5


def test_no_text_crashes_the_reader() -> None:
  """The checker decides seeded noise from its own alphabet quickly, and never takes it for an unrelated gold answer."""
  alphabet = [*"0123456789+-*/^_(){}[],;:=<>!|.%$ xyzeiABk\\\n中²½", r"\frac", r"\sqrt", r"\text{", r"\{", r"\}"]
  alphabet += [r"\pi", r"\infty", r"\cup", r"\pm", r"\begin{pmatrix}", r"\end{pmatrix}", "&", "\\\\", r"\cdot", r"\sin"]
  alphabet += [r"\log_", r"\binom", r"\circ", r"\in", r"\le", " or ", "cm", r"\%", r"\$", r"\sum"]
  source = random.Random(0)
  begin = time.thread_time()
  for _ in range(4000):
    noise = "".join(source.choices(alphabet, k=source.choice((1, 3, 8, 20, 80))))
    assert screen_stated(noise, "5417")[0] == 0, json.dumps(noise)
    assert screen_stated(noise, noise.strip() + "7")[0] in (0, 1, None)
  assert time.thread_time() - begin < 30


def test_a_question_that_crashes_the_search_leaves_its_answers_unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
  """The other questions of the step are judged as always."""
  search = judges.form_asked

  def crash(question: str | None, gold: str) -> Form:
    if question == "strange":
      raise RecursionError
    return search(question, gold)

  monkeypatch.setattr(judges, "form_asked", crash)
  with Scorer(workers=1) as scorer:
    scorer.submit(request("strange", "x+2", "2+x", asked="strange"))
    scorer.submit(request("usual", "x+2", "2+x", asked="usual"))
    verdicts = scorer.collect()
  assert {id_: verdict.correct for id_, verdict in verdicts.items()} == {"strange": None, "usual": 1}
  assert verdicts["strange"].reason == "the search of the question failed: RecursionError"


@pytest.mark.parametrize("unit", ["([", "{(", r"\(", r"\frac{", "$", "$[", r"\left("])
def test_a_megabyte_of_brackets_is_searched_for_an_echo(unit: str) -> None:
  question = unit * (1_000_000 // len(unit))
  with Scorer(workers=1) as scorer:
    scorer.submit(request("right", "2x+x^2", "x^2+2x", asked=question))
    scorer.submit(request("wrong", "x^2", "x^2+2x", asked=question))
    verdicts = scorer.collect()
  assert {id_: verdict.correct for id_, verdict in verdicts.items()} == {"right": 1, "wrong": 0}


def test_a_question_of_many_values_is_searched_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
  """The number of comparisons is what bounds the time of the search."""
  compared = []
  monkeypatch.setattr(echo, "_same", lambda gold, stated: compared.append(stated) is not None)
  question = " ".join(f"${n}{'=5' * 100}$" for n in range(100))
  assert echo.form_asked(question, "x+1") is Form.FREE
  assert len(compared) == echo.MAX_VALUES
