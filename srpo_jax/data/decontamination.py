"""Finds training questions that leak an evaluation item.

Questions are compared by their normalised words (`words.py`). A training question leaks an item of at least `SHORT`
words if it contains at least half of the item's distinct 8-grams. It leaks a shorter item if its words are exactly the
item's words. The share is taken of the ITEM's grams, so text around an item in a question does not hide it.

The index holds only the evaluation sets, a few megabytes. Training questions are streamed past it.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from srpo_jax.data.words import gram_hashes, word_hashes, words
from srpo_jax.utils.errors import InputError

GRAM = 8  # words
SHORT = 12  # words; an item with fewer has too few grams for a meaningful share
SHARE = 0.5  # smallest share of the item's distinct grams that counts as a leak
_FILTER_BITS = 22


@dataclasses.dataclass(frozen=True)
class EvalItem:
  """A question of an evaluation set."""

  eval_set: str
  id: str
  question: str


@dataclasses.dataclass(frozen=True)
class Leak:
  """An item that a training question leaks, the share of its grams found there, and the longest shared run of words."""

  eval_set: str
  item_id: str
  share: float
  matched: str


class Index:
  """Index of the evaluation items, by the hashes of their 8-grams."""

  def __init__(self, items: Iterable[EvalItem]):
    """Indexes the items.

    Raises:
      InputError: an item without a word, since nothing could ever match it.
    """
    self._items = list(items)
    texts = [words(item.question) for item in self._items]
    for item, text in zip(self._items, texts, strict=True):
      if not text:
        raise InputError(f"evaluation set {item.eval_set}, item {item.id}: expected a question with a word in it")
    self._short: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(texts):
      if len(text) < SHORT:
        self._short.setdefault(tuple(text), number)
    grams, owners = _grams([text if len(text) >= SHORT else [] for text in texts])
    pairs = (
      np.unique(np.stack([grams, owners.astype(np.uint64)]), axis=1) if len(grams) else np.empty((2, 0), np.uint64)
    )
    self._grams, self._owners = pairs[0], pairs[1].astype(np.int64)
    self._sizes = np.bincount(self._owners, minlength=len(self._items))  # distinct grams of each item
    self._filter = np.zeros(1 << _FILTER_BITS, bool)
    self._filter[_low_bits(self._grams)] = True

  def __len__(self) -> int:
    return len(self._items)

  def leaks(self, texts: Sequence[Sequence[str]], hashes: np.ndarray, starts: np.ndarray) -> dict[int, Leak]:
    """Finds the texts that leak an item.

    Args:
      texts: the words of each training question.
      hashes, starts: the same words in the form that `words.gram_hashes` takes.

    Returns:
      Index of each leaking text -> the leak of the item with the largest share.
    """
    found = {
      number: Leak(self._items[item].eval_set, self._items[item].id, 1.0, " ".join(text))
      for number, text in enumerate(texts)
      if len(text) < SHORT and (item := self._short.get(tuple(text))) is not None
    }
    grams, owners = gram_hashes(hashes, starts, GRAM)
    candidates = np.flatnonzero(self._filter[_low_bits(grams)])
    candidates = candidates[np.isin(grams[candidates], self._grams)]
    for number in np.unique(owners[candidates]):
      leak = self._leak(texts[number], grams[candidates[owners[candidates] == number]])
      if leak is not None:
        found[int(number)] = leak
    return found

  def find(self, questions: Sequence[str]) -> dict[int, Leak]:
    """Like `leaks`, for questions given as text."""
    texts = [words(question) for question in questions]
    return self.leaks(texts, *packed(texts))

  def _leak(self, text: Sequence[str], grams: np.ndarray) -> Leak | None:
    counts: Counter[int] = Counter()
    for gram in np.unique(grams):
      low, high = np.searchsorted(self._grams, gram, "left"), np.searchsorted(self._grams, gram, "right")
      counts.update(self._owners[low:high].tolist())
    shares = {item: count / self._sizes[item] for item, count in counts.items()}
    item = max(shares, key=lambda item: (shares[item], -item))
    if shares[item] < SHARE:
      return None
    entry = self._items[item]
    return Leak(entry.eval_set, entry.id, round(float(shares[item]), 4), _longest_run(text, words(entry.question)))


def packed(texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the concatenated word hashes of texts, uint64 [word], and the bounds of the texts, int64 [text + 1]."""
  flat = [word for text in texts for word in text]
  return word_hashes(flat), np.cumsum([0, *map(len, texts)], dtype=np.int64)


def _grams(texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
  return gram_hashes(*packed(texts), GRAM)


def _low_bits(hashes: np.ndarray) -> np.ndarray:
  return (hashes & np.uint64((1 << _FILTER_BITS) - 1)).astype(np.int64)


def _longest_run(text: Sequence[str], item: Sequence[str]) -> str:
  """Returns the longest run of words that both contain."""
  best_end = best = 0
  previous = [0] * (len(item) + 1)
  for end, word in enumerate(text, start=1):
    current = [0] * (len(item) + 1)
    for place, other in enumerate(item, start=1):
      if word == other:
        current[place] = previous[place - 1] + 1
        if current[place] > best:
          best, best_end = current[place], end
    previous = current
  return " ".join(text[best_end - best : best_end])
