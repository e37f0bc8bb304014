"""Rows that ask the same: by a hash of the question, and by MinHash for those that differ in a few words.

Nothing but numbers is kept of a row, about 300 bytes, whatever its length. Questions with other numbers, operators or
another answer are other problems, however alike their words (GSM8K has many such), and so are tasks with other tests:
these have to agree too. MinHash signatures of word 3-grams estimate the Jaccard similarity; rows that agree in one of
`BANDS` bands are compared (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4).
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
MIN_WORDS = 8  # shorter questions go by the exact hash alone
_BLOCK = 2048  # grams whose hashes exist at once, so that they stay in the processor's cache
_MARKS = re.compile(r"[$\s]|\\(?:left|right)(?![a-z])|\\[()\[\]]")

_OPERATORS = re.compile(r"[+*/=<>^]")  # a minus is a hyphen too

_random = np.random.default_rng(20250421)
_FACTORS = _random.integers(0, 1 << 63, PERMUTATIONS, np.uint64) * np.uint64(2) + np.uint64(1)
_TERMS = _random.integers(0, 1 << 63, PERMUTATIONS, np.uint64)


@dataclasses.dataclass(frozen=True)
class Fingerprints:
  """What is compared of each row.

  Attributes:
    exact: of the question, case and spacing evened out; uint64 [row].
    truth: of the gold answer, 0 for code; uint64 [row].
    same: of what near-duplicates must share, 0 for a question too short to be one; uint64 [row].
    signature: MinHash; uint32 [row, PERMUTATIONS].
  """

  exact: np.ndarray
  truth: np.ndarray
  same: np.ndarray
  signature: np.ndarray


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """`of`: the earlier row that a row repeats, else -1; int64 [row]. `near`: not by the exact hash; bool [row]."""

  of: np.ndarray
  near: np.ndarray


def fingerprints(
  problems: Sequence[Problem], texts: Sequence[Sequence[str]], hashes: np.ndarray, starts: np.ndarray
) -> Fingerprints:
  """Of problems with the words of their questions; `hashes` and `starts` as `words.gram_hashes` takes them."""
  count = len(problems)
  exact = np.fromiter((_hash(f"{p.domain} {_even(p.question)}") for p in problems), np.uint64, count)
  truth = np.fromiter((_truth(p) for p in problems), np.uint64, count)
  same = np.fromiter(
    (_same(p, text, int(t)) for p, text, t in zip(problems, texts, truth, strict=True)), np.uint64, count
  )
  return Fingerprints(exact, truth, same, minhash(*gram_hashes(hashes, starts, GRAM), count))


def minhash(grams: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
  """Signatures of `count` sets of gram hashes: uint32 [set, PERMUTATIONS]; an empty set has the greatest values."""
  signature = np.full((count, PERMUTATIONS), np.uint32(0xFFFFFFFF))
  for start in range(0, len(grams), _BLOCK):
    block, owner = grams[start : start + _BLOCK], owners[start : start + _BLOCK]
    values = ((block[None, :] * _FACTORS[:, None] + _TERMS[:, None]) >> np.uint64(32)).astype(np.uint32)
    firsts = np.flatnonzero(np.diff(owner, prepend=-1))
    least = np.minimum.reduceat(values, firsts, axis=1).T
    signature[owner[firsts]] = np.minimum(signature[owner[firsts]], least)
  return signature


def find(rows: Fingerprints, jaccard: float) -> Duplicates:
  """The rows that repeat an earlier one.

  Args:
    rows: of all rows, in order.
    jaccard: similarity from which on rows are near-duplicates; 0 looks for exact ones alone.
  """
  count = len(rows.exact)
  of = np.full(count, -1, np.int64)
  _, first, inverse = np.unique(rows.exact, return_index=True, return_inverse=True)
  leader = first[inverse]
  repeats = leader != np.arange(count)
  of[repeats] = leader[repeats]
  near = np.zeros(count, bool)
  if jaccard > 0:
    alive = np.flatnonzero(~repeats & (rows.same != 0))
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
      _match_band(rows, alive, slice(band * width, (band + 1) * width), jaccard, of, near)
  return Duplicates(_roots(of), near)


def _match_band(
  rows: Fingerprints, alive: np.ndarray, band: slice, jaccard: float, of: np.ndarray, near: np.ndarray
) -> None:
  """Compares rows that agree in a band with the first of them and with the one before; notes the earlier row."""
  keys = rows.same[alive].copy()
  for column in rows.signature[alive, band].T:
    keys = (keys ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    keys ^= keys >> np.uint64(29)
  order = np.argsort(keys, kind="stable")
  sorted_keys, members = keys[order], alive[order]
  begins = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]) if len(keys) else np.empty(0, bool)
  later = np.flatnonzero(~begins)
  firsts = np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))[later] if len(keys) else later
  for other in (members[firsts], members[later - 1]):
    row = members[later]
    agreement = (rows.signature[row] == rows.signature[other]).mean(axis=1)
    # Another `same` under an equal key would be a collision of the hash.
    hit = (agreement >= jaccard) & (rows.same[row] == rows.same[other])
    row, other = row[hit], other[hit]
    unset = of[row] < 0
    of[row] = np.where(unset, other, np.minimum(of[row], other))
    near[row] = True


def _roots(of: np.ndarray) -> np.ndarray:
  """The row at the end of each chain: it repeats none."""
  while True:
    linked = np.flatnonzero(of >= 0)
    further = of[of[linked]]
    moved = further >= 0
    if not moved.any():
      return of
    of[linked[moved]] = further[moved]


def conflicting(rows: Fingerprints) -> list[np.ndarray]:
  """Groups of rows with the same question and answers of more than one spelling, each in order."""
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


def _even(question: str) -> str:
  """The question without what only sets type: case, blanks, LaTeX's spacing. Operators and signs stay."""
  if "\\" in question or "~" in question:
    question = LAYOUT.sub(" ", SAME.sub(r"\\", question))
  return " ".join(question.casefold().split()).rstrip(".?!")


def _truth(problem: Problem) -> int:
  if problem.domain != "math" or problem.answer is None:
    return 0
  return _hash(plain_answer(problem.answer))


def plain_answer(answer: str) -> str:
  """A spelling that common ways to write one answer share; other answers may still be equal in value."""
  text = _MARKS.sub("", SAME.sub(r"\\", answer)).casefold().rstrip(".")
  return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _same(problem: Problem, text: Sequence[str], truth: int) -> int:
  if len(text) < MIN_WORDS:
    return 0
  if problem.domain == "code":  # two tasks may differ in one bracket: only their tests can tell
    return _hash(json.dumps(problem.tests, sort_keys=True, default=str)) or 1
  numbers = sorted(word for word in text if word < ":")  # those that begin with a digit: it comes after 9
  return _hash(f"{truth} {' '.join(numbers)} {''.join(sorted(_OPERATORS.findall(problem.question)))}") or 1
