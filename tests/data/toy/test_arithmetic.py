"""The arithmetic task: correct answers, disjoint splits, and traces that match their names."""

import itertools
import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from srpo_jax.data.toy import arithmetic_traces
from srpo_jax.data.toy.arithmetic import expression_of, problems
from srpo_jax.data.toy.arithmetic_traces import TraceMix, trace
from srpo_jax.data.toy.expression import canonical
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

ALL = {"train": problems("train", 3600, 0), "heldout": problems("heldout", 1400, 0)}
FORM = re.compile(r"([^<>]*\S[^<>]*)</think>\s*<answer>\s*\\boxed\{(\d+)\}\s*</answer>")


def spellings(expression):
  """Returns every reordering of an expression's operands, with separate rules for each pattern of expressions."""
  if match := re.fullmatch(r"\((\d+)([+-])(\d+)\)\*(\d+)", expression):
    a, op, b, c = match.groups()
    sums = {f"{a}{op}{b}", f"{b}+{a}" if op == "+" else f"{a}-{b}"}
    return {text for s in sums for text in (f"({s})*{c}", f"{c}*({s})")}
  terms = re.findall(r"[+-]?[\d*]+", expression)
  signed = [term if term[0] in "+-" else "+" + term for term in terms]
  orders = [[term[0] + "*".join(p) for p in itertools.permutations(term[1:].split("*"))] for term in signed]
  return {"".join(order) for choice in itertools.product(*orders) for order in itertools.permutations(choice)}


def answer_by_words(question):
  """Works out the answer to a question from only its number words and verbs."""
  units = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
  units |= {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16}
  units |= {"seventeen": 17, "eighteen": 18, "nineteen": 19}
  tens = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
  text = re.sub(r"([a-z]+ty)(?:-([a-z]+))?", lambda m: str(tens[m[1]] + units.get(m[2], 0)), question)
  text = re.sub(r"\b[a-z]+\b", lambda m: str(units[m[0]]) if m[0] in units else m[0], text)
  for pattern, form in (
    (r"Add (\d+) and (\d+)", r"(\1 + \2)"),
    (r"Subtract (\d+) from (\d+)", r"(\2 - \1)"),
    (r"Multiply (\d+) by (\d+)", r"(\1 * \2)"),
    (r", then multiply by ", " * "),
    (r", then add ", " + "),
    (r", then subtract ", " - "),
    (r"What is |Compute |\.|\?", ""),
    ("plus", "+"),
    ("minus", "-"),
    ("times", "*"),
  ):
    text = re.sub(pattern, form, text)
  assert re.fullmatch(r"[\d+*() -]+", text), (question, text)
  return eval(text)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_question_has_its_answer(split):
  for problem in ALL[split]:
    assert int(problem.answer) == answer_by_words(problem.question) == eval(expression_of(problem)) >= 0, problem


def test_splits_are_disjoint_however_expressions_are_spelled():
  train = {text for seed in (0, 1, 2) for p in problems("train", 3600, seed) for text in spellings(expression_of(p))}
  heldout = {text for seed in (0, 7) for p in problems("heldout", 1400, seed) for text in spellings(expression_of(p))}
  assert len(train) > 7000 and len(heldout) > 2800
  assert not train & heldout


def test_no_expression_comes_twice_and_ids_differ():
  for split in ALL.values():
    seen = [frozenset(spellings(expression_of(p))) for p in split]
    assert len(set(seen)) == len(seen)
    assert len({p.id for p in split}) == len(split)


def test_difficulties_are_balanced_at_any_size():
  for size in (7, 512, 1400):
    counts = Counter(p.difficulty for p in problems("heldout", size, 3))
    assert set(counts) <= {"easy", "medium", "hard"} and max(counts.values()) - min(counts.values()) <= 1
  operands = {p.difficulty: [] for p in ALL["train"]}
  for p in ALL["train"]:
    operands[p.difficulty].append(re.findall(r"\d+", p.id))
  assert all(len(n) == 2 and len(n[1]) == 1 for n in operands["easy"])
  assert all(len(n) == 2 and len(n[0]) == 2 for n in operands["medium"])
  assert all(len(n) == 3 for n in operands["hard"])


def test_a_prefix_of_a_larger_draw_is_not_the_only_draw():
  assert problems("train", 30, 1) == problems("train", 30, 1)
  assert {p.id for p in problems("train", 30, 1)} != {p.id for p in problems("train", 30, 2)}


def test_a_fresh_process_draws_the_same_problems():
  code = (
    "from srpo_jax.data.toy.arithmetic import problems; print([(p.id, p.question) for p in problems('heldout', 60, 5)])"
  )
  environment = dict(os.environ, PYTHONHASHSEED="12345", PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
  out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
  assert out.stdout.strip() == str([(p.id, p.question) for p in problems("heldout", 60, 5)])


def test_wordings_mix_digits_and_words():
  digits = sum(any(c.isdigit() for c in p.question) for p in ALL["train"]) / len(ALL["train"])
  symbols = sum(bool(re.search(r"\d\)? [+*-] ", p.question)) for p in ALL["train"]) / len(ALL["train"])
  assert 0.6 < digits < 0.73 and 0.28 < symbols < 0.4


def test_sizes_and_splits_out_of_range_are_refused():
  for size in (0, -1, 1_000_000):
    with pytest.raises(InputError, match=f"size {size} of the synthetic heldout split: expected 1 to "):
      problems("heldout", size, 0)
  with pytest.raises(InputError, match="split 'test': expected train or heldout"):
    problems("test", 3, 0)


@pytest.mark.parametrize(
  ("one", "other", "same"),
  [
    ("37+45", "45+37", True),
    ("37+45-26", "45-26+37", True),
    ("(3+4)*8", "8*(4+3)", True),
    ("6*7+25", "25+7*6", True),
    ("10-(3-4)", "4+10-3", True),
    ("45-37", "37-45", False),
    ("(3+4)*8", "3+4*8", False),
    ("37+45", "36+46", False),
    ("2*12", "21*2", False),
    ("(9-4)*3", "(4-9)*3", False),
  ],
)
def test_canonical_keys(one, other, same):
  assert (canonical(one) == canonical(other)) is same


@pytest.mark.parametrize(
  "text", ["", "3+", "3/4", "x+1", "3.0+1", "-3+1", "2**3", "f(1)", "True+1", "1 if 1 else 2", "'a'*3"]
)
def test_text_that_is_not_an_expression_is_refused(text):
  with pytest.raises(InputError, match="expected whole numbers, "):
    canonical(text)


@pytest.mark.parametrize(
  ("expression", "body"),
  [
    ("7+5", "7+5=12"),
    ("15-8", "15-8=7"),
    ("6*7", "6*7=42"),
    ("37+45", "37+45: 7+5=12, 3+4+1=8"),
    ("31+45", "31+45: 1+5=6, 3+4=7"),
    ("12+9", "12+9: 2+9=11, 1+0+1=2"),
    ("77+45", "77+45: 7+5=12, 7+4+1=12"),
    ("82-45", "82-45: 12-5=7, 8-4-1=3"),
    ("85-42", "85-42: 5-2=3, 8-4=4"),
    ("23*4", "23*4: 3*4=12, 2*4=8, 8+1=9"),
    ("21*4", "21*4: 1*4=4, 2*4=8"),
    ("97*8", "97*8: 7*8=56, 9*8=72, 72+5=77"),
    ("6*7+25", "6*7+25: 42+25: 2+5=7, 4+2=6"),
    ("8*9-25", "8*9-25: 72-25: 12-5=7, 7-2-1=4"),
    ("(3+4)*8", "(3+4)*8: 7*8=56"),
    ("(7+8)*6", "(7+8)*6: 15*6: 5*6=30, 1*6=6, 6+3=9"),
    ("7+8-6", "7+8-6: 15-6=9"),
  ],
)
def test_worked_traces_by_hand(expression, body):
  answer = eval(expression)
  assert arithmetic_traces.worked(expression) == f"{body} </think> <answer>\\boxed{{{answer}}}</answer>"


def test_every_worked_trace_is_well_formed_and_each_step_true():
  for problem in itertools.chain(*ALL.values()):
    text = arithmetic_traces.worked(expression_of(problem))
    body, answer = FORM.fullmatch(text).groups()
    assert answer == problem.answer
    assert all(eval(step.replace("=", "==")) for step in re.findall(r"[\d+*()-]+=\d+", body)), text
    assert body.startswith(expression_of(problem))


def test_a_slip_is_one_false_step_and_a_wrong_answer():
  rng = np.random.default_rng(0)
  for problem in itertools.chain(*ALL.values()):
    text = arithmetic_traces.slip(expression_of(problem), rng)
    body, answer = FORM.fullmatch(text).groups()
    assert answer != problem.answer
    false = [s for s in re.findall(r"[\d+*()-]+=\d+", body) if not eval(s.replace("=", "=="))]
    # A slip in the inner operation has no '='. It appears as a wrong number in the second part of the chain.
    rewritten = re.match(r"\(?(\d+[+*-]\d+)\)?[+*-]\d+: (\d+)", body)
    assert len(false) + bool(rewritten and eval(rewritten[1]) != int(rewritten[2])) == 1, text


def test_guesses_are_near_and_right_as_often_as_asked():
  rng = np.random.default_rng(0)
  for right in (0.0, 0.25, 1.0):
    drawn = [(FORM.fullmatch(arithmetic_traces.guess(expression_of(p), rng, right)).groups(), p) for p in ALL["train"]]
    errors = np.array([int(answer) - int(p.answer) for (_, answer), p in drawn])
    assert abs(np.mean(errors == 0) - right) < 4 * np.sqrt(right * (1 - right) / len(errors)) + 1e-9
    assert set(np.abs(errors)) <= {0, 1, 2, 10}
    assert not any(c.isdigit() for (body, _), _ in drawn for c in body)


def test_malformed_traces_break_the_form_in_four_ways():
  rng = np.random.default_rng(0)
  texts = [arithmetic_traces.malformed(expression_of(p), rng) for p in ALL["train"]]
  assert not [text for text in texts if FORM.fullmatch(text)]
  marks = ("</think>", "<answer>", "</answer>", "\\boxed{")
  forms = Counter(tuple(text.count(mark) for mark in marks) for text in texts)
  assert set(forms) == {(1, 1, 1, 0), (0, 1, 1, 1), (1, 2, 2, 2), (1, 1, 0, 1)}
  assert min(forms.values()) > len(texts) / 5


def test_the_mix_decides_the_kinds_drawn():
  rng = np.random.default_rng(0)
  expressions = [expression_of(p) for p in ALL["train"]]
  for e in expressions[:200]:
    assert trace(e, rng, TraceMix(worked=2, guess=0, slip=0, malformed=0)) == arithmetic_traces.worked(e)
    assert FORM.fullmatch(trace(e, rng, TraceMix(worked=0, guess=2, slip=0, malformed=0)))[1] == " easy. "
    assert not FORM.fullmatch(trace(e, rng, TraceMix(worked=0, guess=0, slip=0, malformed=2)))
  share = np.mean([trace(e, rng) == arithmetic_traces.worked(e) for e in expressions])
  assert abs(share - arithmetic_traces.TraceMix.worked) < 0.04
  with pytest.raises(InputError, match="weights of 0 or more"):
    trace("1+2", rng, TraceMix(worked=-1))
  with pytest.raises(InputError, match="weights of 0 or more"):
    trace("1+2", rng, TraceMix(0, 0, 0, 0))
  with pytest.raises(InputError, match="guess_right from 0 to 1"):
    trace("1+2", rng, TraceMix(guess_right=25))


@pytest.mark.parametrize("expression", ["7", "123+4", "12*34", "12*5+3", "3+4*8", "1+2-3-4"])
def test_expressions_that_no_trace_can_work_are_refused(expression):
  with pytest.raises(InputError, match="expected"):
    arithmetic_traces.worked(expression)


def test_a_foreign_problem_has_no_expression():
  with pytest.raises(InputError, match="expected an id of arithmetic/EXPRESSION"):
    trace(Problem(id="gsm8k-000001", domain="math", question="Q"), np.random.default_rng(0))
