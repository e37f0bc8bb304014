"""Normalised words of a question do not depend on its typesetting, spacing or variable names."""

import numpy as np
import pytest

from srpo_jax.data.words import SYMBOL, gram_hashes, word_hashes, words

S = SYMBOL


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("Find the sum.", ["find", "the", "sum"]),
    ("Let $x_1 = \\frac{ab}{2}$.", ["let", S, "1", "frac", S, S, "2"]),
    ("$\\triangle ABC$", ["triangle", S, S, S]),
    ("triangle ABC", ["triangle", S, S, S]),
    ("$\\dfrac12\\,\\text{cm per hour}$", ["frac", "12", "cm", "per", "hour"]),
    ("1,000 or $1{,}000$ or 1000", ["1000", "or", "1000", "or", "1000"]),
    ("angle $\\alpha$ and $\\theta$", ["angle", S, "and", S]),
    ("It's Tom’s 3.5", ["it's", "tom’s", "3.5"]),
    ("如图，AB=3", ["如", "图", S, S, "3"]),
    ("2x + 3y", ["2", S, "3", S]),
    ("", []),
    ("?! ...", []),
  ],
)
def test_words(text, expected):
  assert words(text) == expected


@pytest.mark.parametrize(
  ("one", "other"),
  [
    ("If $a^2+b^2=c^2$", "if  $x^2 + y^2 = z^2$ ."),
    ("Let $f(n)=\\left( n+1 \\right)$", "let $g(k) = (k+1)$"),
    ("$\\alpha+\\beta$", "$x+y$"),
    ("\\(x\\)-axis and $$y$$", "$u$-axis and \\[v\\]"),
  ],
)
def test_renaming_letters_and_respacing_changes_no_word(one, other):
  assert words(one) == words(other)


def test_different_numbers_are_different_words():
  assert words("$x^2$") != words("$x^3$") and words("12 apples") != words("1 2 apples")


def test_gram_hashes_cover_every_run_inside_one_text():
  texts = [["a", "b", "c", "d"], ["b", "c"], [], ["x", "b", "c", "d"]]
  flat = [word for text in texts for word in text]
  grams, owners = gram_hashes(word_hashes(flat), np.cumsum([0, *map(len, texts)]), 3)
  runs = [(number, tuple(t[i : i + 3])) for number, t in enumerate(texts) for i in range(len(t) - 2)]
  assert owners.tolist() == [number for number, _ in runs]
  for (_, run), gram in zip(runs, grams, strict=True):
    assert [run == other for _, other in runs] == (grams == gram).tolist()
  assert gram_hashes(word_hashes(["a"]), np.array([0, 1]), 3)[0].size == 0
