"""Finds rows that ask the same question.

A hash of the question finds exact duplicates. MinHash finds near-duplicates, which differ in a few words. MinHash
signatures of word 3-grams estimate the Jaccard similarity. Only rows that agree in one of `BANDS` bands are compared
(Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4).

Two questions with different numbers, operators or answers are different problems, however similar their words are.
GSM8K has many such pairs. Two tasks with different tests are different problems too. Near-duplicates must agree in all
of these.

A row is kept as numbers only, about 300 bytes whatever its length.
"""

import dataclasses
import json
import re
from collections.abc import Sequence

import numpy as np
import xxhash

from srpo_jax.data.words import LAYOUT, SAME, gram_hashes
from srpo_jax.types import Problem

PERMUTATIONS = 64
BANDS = 16
GRAM = 3  # words
MIN_WORDS = 8  # shorter questions are compared by the exact hash only
_BLOCK = 2048  # grams hashed at a time; their hashes fit the processor's cache
_MARKS = re.compile(r"[$\s]|\\(?:left|right)(?![a-z])|\\[()\[\]]")

_OPERATORS = re.compile(r"[+*/=<>^]")  # no minus sign: it may be a hyphen

_random = np.random.default_rng(20250421)
_FACTORS = _random.integers(0, 1 << 63, PERMUTATIONS, np.uint64) * np.uint64(2) + np.uint64(1)
_TERMS = _random.integers(0, 1 << 63, PERMUTATIONS, np.uint64)


@dataclasses.dataclass(frozen=True)
class Fingerprints:
  """Hashes by which rows are compared.

  Attributes:
    exact: hash of the question without differences of case and spacing, uint64 [row].
    truth: hash of the gold answer, 0 for code, uint64 [row].
    same: hash of everything that near-duplicates must share, 0 if the question is too short to have any, uint64 [row].
    signature: MinHash signature of the question, uint32 [row, PERMUTATIONS].
  """

  exact: np.ndarray
  truth: np.ndarray
  same: np.ndarray
  signature: np.ndarray


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Duplicates found among rows.

  Attributes:
    of: index of the earlier row that a row repeats, or -1, int64 [row].
    near: true for rows that were matched by MinHash rather than by the exact hash, bool [row].
  """

  of: np.ndarray
  near: np.ndarray


def fingerprints(
  problems: Sequence[Problem], texts: Sequence[Sequence[str]], hashes: np.ndarray, starts: np.ndarray
) -> Fingerprints:
  """Returns the fingerprints of problems.

  Args:
    problems: the problems.
    texts: the words of each question.
    hashes, starts: the same words as `words.gram_hashes` takes them.
  """
  count = len(problems)
  exact = np.fromiter((_hash(f"{p.domain} {_plain_question(p.question)}") for p in problems), np.uint64, count)
  truth = np.fromiter((_answer_hash(p) for p in problems), np.uint64, count)
  same = np.fromiter(
    (_shared_hash(p, text, int(t)) for p, text, t in zip(problems, texts, truth, strict=True)), np.uint64, count
  )
  return Fingerprints(exact, truth, same, minhash(*gram_hashes(hashes, starts, GRAM), count))


def minhash(grams: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
  """Returns the MinHash signatures of `count` sets of gram hashes, uint32 [set, PERMUTATIONS].

  The signature of an empty set holds the largest value everywhere.
  """
  signature = np.full((count, PERMUTATIONS), np.uint32(0xFFFFFFFF))
  for start in range(0, len(grams), _BLOCK):
    block, owner = grams[start : start + _BLOCK], owners[start : start + _BLOCK]
    values = ((block[None, :] * _FACTORS[:, None] + _TERMS[:, None]) >> np.uint64(32)).astype(np.uint32)
    firsts = np.flatnonzero(np.diff(owner, prepend=-1))
    least = np.minimum.reduceat(values, firsts, axis=1).T
    signature[owner[firsts]] = np.minimum(signature[owner[firsts]], least)
  return signature


def find(rows: Fingerprints, jaccard: float) -> Duplicates:
  """Finds the rows that repeat an earlier row.

  Args:
    rows: fingerprints of all rows, in order.
    jaccard: minimum similarity of near-duplicates. 0 finds exact duplicates only.
  """
  count = len(rows.exact)
  of = np.full(count, -1, np.int64)
  _, first, inverse = np.unique(rows.exact, return_index=True, return_inverse=True)
  leader = first[inverse]
  repeats = leader != np.arange(count)
  of[repeats] = leader[repeats]
  near = np.zeros(count, bool)
  if jaccard > 0:
    candidates = np.flatnonzero(~repeats & (rows.same != 0))
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
      _match_band(rows, candidates, slice(band * width, (band + 1) * width), jaccard, of, near)
  return Duplicates(_roots(of), near)


def _match_band(
  rows: Fingerprints, candidates: np.ndarray, band: slice, jaccard: float, of: np.ndarray, near: np.ndarray
) -> None:
  """Compares the rows that agree in a band, and records matches in `of` and `near`.

  Each row is compared with the first row of its bucket and with the row just before it.
  """
  keys = rows.same[candidates].copy()
  for column in rows.signature[candidates, band].T:
    keys = (keys ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    keys ^= keys >> np.uint64(29)
  order = np.argsort(keys, kind="stable")
  sorted_keys, members = keys[order], candidates[order]
  begins = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]) if len(keys) else np.empty(0, bool)
  later = np.flatnonzero(~begins)
  firsts = np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))[later] if len(keys) else later
  for other in (members[firsts], members[later - 1]):
    row = members[later]
    agreement = (rows.signature[row] == rows.signature[other]).mean(axis=1)
    # Keys may collide, so `same` is compared as well.
    hit = (agreement >= jaccard) & (rows.same[row] == rows.same[other])
    row, other = row[hit], other[hit]
    unset = of[row] < 0
    of[row] = np.where(unset, other, np.minimum(of[row], other))
    near[row] = True


def _roots(of: np.ndarray) -> np.ndarray:
  """Follows each chain of duplicates to its first row, which repeats no other."""
  while True:
    linked = np.flatnonzero(of >= 0)
    further = of[of[linked]]
    moved = further >= 0
    if not moved.any():
      return of
    of[linked[moved]] = further[moved]


def conflicting(rows: Fingerprints) -> list[np.ndarray]:
  """Returns groups of rows with the same question and differently spelled answers, each in row order."""
  order = np.argsort(rows.exact, kind="stable")
  keys = rows.exact[order]
  edges = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
  if not len(edges):
    return []
  low = np.minimum.reduceat(rows.truth[order], edges)
  high = np.maximum.reduceat(rows.truth[order], edges)
  ends = np.append(edges[1:], len(keys))
  return [order[edges[group] : ends[group]] for group in np.flatnonzero(low != high)]


def _hash(text: str) -> int:
  return xxhash.xxh3_64_intdigest(text.encode())


def _plain_question(question: str) -> str:
  """Returns the question without differences of case, blanks and LaTeX spacing. Operators and signs stay."""
  if "\\" in question or "~" in question:
    question = LAYOUT.sub(" ", SAME.sub(r"\\", question))
  return " ".join(question.casefold().split()).rstrip(".?!")


def _answer_hash(problem: Problem) -> int:
  if problem.domain != "math" or problem.answer is None:
    return 0
  return _hash(plain_answer(problem.answer))


def plain_answer(answer: str) -> str:
  """Returns a normal form of an answer that its common spellings share.

  Answers with different normal forms may still be equal in value.
  """
  text = _MARKS.sub("", SAME.sub(r"\\", answer)).casefold().rstrip(".")
  return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _shared_hash(problem: Problem, text: Sequence[str], truth: int) -> int:
  if len(text) < MIN_WORDS:
    return 0
  if problem.domain == "code":  # tasks may differ in a single bracket, which only their tests show
    return _hash(json.dumps(problem.tests, sort_keys=True, default=str)) or 1
  numbers = sorted(word for word in text if word < ":")  # words that begin with a digit, since ":" follows "9"
  return _hash(f"{truth} {' '.join(numbers)} {''.join(sorted(_OPERATORS.findall(problem.question)))}") or 1
