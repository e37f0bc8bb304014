"""Tests that exact and near-duplicates are found, and that another number or answer makes another problem."""

import random

import numpy as np
import pytest

from srpo_jax.data.curation.duplicates import Fingerprints, conflicting, find, fingerprints, minhash
from srpo_jax.data.decontamination import packed
from srpo_jax.data.words import gram_hashes, words
from srpo_jax.types import Problem

VOCABULARY = [f"{a}{b}{c}" for a in "bcdfg" for b in "aeiou" for c in "lmnpr"]
TEXT = (
  "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did "
  "Natalia sell altogether in April and May, if none was given back to her?"
)


def prints(*rows: tuple[str, str]) -> Fingerprints:
  problems = [Problem(str(n), "math", question, answer=answer) for n, (question, answer) in enumerate(rows)]
  texts = [words(problem.question) for problem in problems]
  return fingerprints(problems, texts, *packed(texts))


def repeats(*rows: tuple[str, str]) -> list[int]:
  return find(prints(*rows), 0.8).of.tolist()


def test_exact_duplicates_ignore_case_and_spacing():
  assert repeats(
    (TEXT, "72"), (TEXT.upper(), "72"), ("Another question about 5 things?", "5"), (f" {TEXT}\n", "72")
  ) == [-1, 0, -1, 0]
  assert repeats(("Find $\\dfrac{1}{2}\\,x$.", "1"), ("find $\\frac{1}{2} x$", "1")) == [-1, 0]
  assert repeats(("Find $x+2$.", "1"), ("Find $x-2$.", "1")) == [-1, -1]


def test_near_duplicates_have_the_same_numbers_and_answer():
  near = TEXT.replace("altogether", "in all")
  assert repeats((TEXT, "72"), (near, "72")) == [-1, 0]
  assert repeats((TEXT, "72"), (near, "73")) == [-1, -1]
  story = " ".join(f"On a day in {month} it rained." for month in ("June", "July", "August", "September", "October"))
  long = f"{story} {TEXT}"  # long enough that one changed word keeps the similarity high
  assert repeats((long, "72"), (long.replace("friends", "pals"), "72")) == [-1, 0]
  assert repeats((long, "72"), (long.replace("48", "50"), "72")) == [-1, -1]
  assert find(prints((TEXT, "72"), (near, "72")), 0.0).of.tolist() == [-1, -1]


def test_near_duplicates_have_the_same_operators():
  text = "Let $x$ and $y$ be the two whole numbers from 1 to 9 with $x+y=9$ and the largest product. Find it at once"
  assert repeats((text, "20"), (text.replace("at once", "soon"), "20")) == [-1, 0]
  assert repeats((text, "20"), (text.replace("x+y", "x*y").replace("at once", "soon"), "20")) == [-1, -1]


def test_near_duplicates_of_a_task_have_the_same_tests():
  def found(*tests: str) -> list[int]:
    task = "brackets is a string of {}. Write a function that says whether every opening bracket has a closing one"
    questions = [task.format("( and )"), task.format("< and >")]
    problems = [Problem(q, "code", q, tests={"cases": [t]}) for q, t in zip(questions, tests, strict=True)]
    texts = [words(problem.question) for problem in problems]
    return find(fingerprints(problems, texts, *packed(texts)), 0.8).of.tolist()

  assert found("assert f('()')", "assert f('<>')") == [-1, -1]
  assert found("assert f('()')", "assert f('()')") == [-1, 0]


def test_a_chain_of_duplicates_leads_to_its_first_row():
  second = TEXT.replace("altogether", "in all")
  assert repeats(
    (TEXT, "72"), (second, "72"), (second + " ", "72"), (second.replace("clips in May", "clips in June"), "72")
  ) == [-1, 0, 0, 0]


def test_agrees_with_jaccard_of_every_pair():
  rng = random.Random(0)
  texts = []
  for _ in range(150):
    if texts and rng.random() < 0.5:
      source = rng.choice(texts).split()
      rate = rng.choice((0.005, 0.01, 0.1, 0.1, 0.3))
      texts.append(" ".join(rng.choice(VOCABULARY) if rng.random() < rate else word for word in source))
    else:
      texts.append(" ".join(rng.choices(VOCABULARY, k=60)))

  def grams(text):
    split = text.split()
    return {tuple(split[i : i + 3]) for i in range(len(split) - 2)}

  found = find(prints(*((text, "1") for text in texts)), 0.8)
  for number, text in enumerate(texts):
    best = max((len(grams(text) & grams(o)) / len(grams(text) | grams(o)) for o in texts[:number]), default=0.0)
    if best >= 0.95:
      assert found.of[number] >= 0
    if best <= 0.62:
      assert found.of[number] < 0
  assert 30 < (found.of >= 0).sum() < 120


def test_minhash_estimates_jaccard_across_blocks():
  rng = np.random.default_rng(0)
  a = rng.integers(0, 1 << 63, 4000, np.uint64)
  b = np.concatenate([a[:3000], rng.integers(0, 1 << 63, 1000, np.uint64)])  # 3000 shared of 5000 in all: 0.6
  signature = minhash(np.concatenate([a, b]), np.repeat(np.arange(2, dtype=np.int32), 4000), 3)
  assert abs((signature[0] == signature[1]).mean() - 0.6) < 0.2
  assert (signature[2] == 0xFFFFFFFF).all()
  single = minhash(b, np.zeros(len(b), np.int32), 1)
  assert (single[0] == signature[1]).all()


def test_conflicting_groups():
  rows = prints((TEXT, "72"), ("Another one?", "5"), (TEXT, "$72$"), (TEXT, "73"), ("Another one?", "5.0"))
  assert [group.tolist() for group in conflicting(rows)] == [[0, 2, 3]]
  assert conflicting(prints()) == []


def test_empty_input():
  assert find(prints(), 0.8).of.tolist() == []
  assert gram_hashes(*packed([]), 3)[0].size == 0


@pytest.mark.parametrize("answer", ["72", "$72$", "72.0", "\\left(72\\right)"])
def test_only_uncommon_spellings_of_an_answer_conflict(answer):
  assert len(conflicting(prints((TEXT, "72"), (TEXT, answer)))) == (answer == "\\left(72\\right)")
