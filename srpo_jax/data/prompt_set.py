"""Prompts of problems, by id.

The constructor reads every row once to decide which rows can be used. A prompt is read and encoded again on each
access. A data set may therefore be larger than memory, and a history index refers to record indices.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from srpo_jax.data import difficulty
from srpo_jax.data.dataset import column
from srpo_jax.data.encoded import Prompt
from srpo_jax.data.sources import own_fields
from srpo_jax.rewards.code import runnable
from srpo_jax.rewards.math import unread
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

BATCH = 1024  # rows in memory at once
SHOWN = 3  # unread gold answers that a message names


@dataclasses.dataclass(frozen=True)
class Selection:
  """Arguments of `difficulty.select`, which chooses rows by difficulty."""

  keep: Mapping[str, float]
  max_unsolved: float
  seed: int


class PromptSet(Mapping[str, Prompt]):
  """Prompts of the usable rows, in row order.

  Attributes:
    refused: record index -> reason why the row is not used.
    unread: record index -> reason why the gold answer of a math row is not read as a value. Kept rows are here too.
    domains: domain -> ids of its prompts.
    record: id -> record index.
    longest: number of tokens of the longest prompt.
    largest_id: largest token id in any prompt.
    digests: domain -> hash of its prompts and of the data that decide whether a response is correct.
  """

  def __init__(
    self,
    name: str,
    problems: Sequence[Problem],
    *,
    render: Callable[[Problem], Prompt],
    max_tokens: int,
    check: Callable[[Problem], None],
    packages: Sequence[str] = (),
    selection: Selection | None = None,
    unread_golds: str = "keep",
  ):
    """Reads and checks every row.

    Args:
      name: name of the set for messages.
      problems: the rows, possibly lazy.
      render: makes the prompt of a problem, a `PromptRenderer`.
      max_tokens: largest number of tokens in a prompt; rows with longer prompts are not used.
      check: raises an InputError for a problem that the rewards cannot judge.
      packages: packages that programs may import besides the standard library.
      selection: choice of rows by difficulty; None uses all rows.
      unread_golds: what to do with math rows whose gold answer is not read as a value: drop, keep or refuse.

    Raises:
      InputError: a domain without an instruction or a judge, an unusable gold answer, no usable row, or an unread gold
        answer under "refuse".
    """
    self.name = name
    self._problems, self._render = problems, render
    self.refused: dict[int, str] = {}
    self.unread: dict[int, str] = {}
    self.record: dict[str, int] = {}
    self.domains: dict[str, list[str]] = {}
    self.longest = self.largest_id = 0
    self._chosen = self._select(selection) if selection else np.ones(len(problems), bool)
    digests: dict[str, Any] = {}
    for start in range(0, len(problems), BATCH):
      batch = problems[start : start + BATCH]
      _, unusable = runnable(batch, packages)
      for index, problem in enumerate(batch, start):
        if not self._chosen[index]:
          continue
        if problem.id in unusable:
          self.refused[index] = f"its tests cannot be used: {unusable[problem.id]}"
          continue
        check(problem)
        if self._drops(index, problem, unread_golds):
          continue
        prompt = render(problem)
        if len(prompt.tokens) > max_tokens:
          n = len(prompt.tokens)
          self.refused[index] = f"a prompt of {n} tokens, over config.data.max_prompt_tokens {max_tokens}"
          continue
        self._add(index, prompt, digests)
    self.digests = {domain: digest.hexdigest() for domain, digest in digests.items()}
    self._report_unread(unread_golds)
    self._report()

  def _select(self, selection: Selection) -> np.ndarray:
    ids, difficulties, rates = (column(self._problems, field) for field in ("id", "difficulty", "pass_rate"))
    labels = [difficulty.row_label(*given) for given in zip(difficulties, rates, strict=True)]
    chosen = difficulty.select(labels, ids, **dataclasses.asdict(selection))
    if not chosen.any():
      raise InputError(f"{self.name}: config.data.keep leaves none of {len(ids)} rows")
    if not chosen.all():
      logging.info("%s: %d of %d rows are left after selection by difficulty", self.name, chosen.sum(), len(ids))
    return chosen

  def _add(self, index: int, prompt: Prompt, digests: dict[str, Any]) -> None:
    problem = prompt.problem
    self.record[problem.id] = index
    self.domains.setdefault(problem.domain, []).append(problem.id)
    self.longest = max(self.longest, len(prompt.tokens))
    self.largest_id = max(self.largest_id, int(prompt.tokens.max()))
    digest = digests.setdefault(problem.domain, hashlib.sha256())
    digest.update(json.dumps([problem.id, prompt.text, problem.answer, problem.tests, *own_fields(problem)]).encode())

  def _report(self) -> None:
    if not self.refused:
      return
    index, reason = min(self.refused.items())
    about = f"{self.name}: {len(self.refused)} of {len(self._problems)} rows cannot be used, as row {index}: {reason}"
    if not self.record:
      raise InputError(about)
    logging.warning("%s", about)

  def _drops(self, index: int, problem: Problem, unread_golds: str) -> bool:
    """Records a gold answer that is not read. Returns True if its row is to be dropped."""
    why = unread(problem.answer or "") if problem.domain == "math" else None
    if why is None:
      return False
    self.unread[index] = f"gold answer {problem.answer!r:.60}: {why}"
    if unread_golds == "drop":
      self.refused[index] = self.unread[index]
    return unread_golds == "drop"

  def _report_unread(self, unread_golds: str) -> None:
    """Logs how many gold answers are not read, with the first few. Raises InputError under "refuse"."""
    if not self.unread:
      return
    done = {"drop": "these rows are dropped", "keep": "such rows are judged by spelling", "refuse": "refused"}
    about = f"{self.name}: {unread_summary(self.unread, len(self._problems))}; {done[unread_golds]}"
    if unread_golds == "refuse":
      raise InputError(f"{about}, expected answers that are values, or config.data.unread_golds=drop or keep")
    logging.warning("%s", about)

  def __getitem__(self, id_: str) -> Prompt:
    return self._render(self._problems[self.record[id_]])

  def __iter__(self) -> Iterator[str]:
    return iter(self.record)

  def __len__(self) -> int:
    return len(self.record)


def unread_summary(unread: Mapping[int, str], rows: int) -> str:
  """Returns the number of unread gold answers among `rows`, and the first few of them with their reasons."""
  first = "; ".join(f"row {index}: {why}" for index, why in sorted(unread.items())[:SHOWN])
  return f"{len(unread)} of {rows} gold answers are not read as values, as {first}"


class PromptSets(Mapping[str, Prompt]):
  """Prompts of several sets by id, for training."""

  def __init__(self, sets: Sequence[PromptSet]):
    self.sets = tuple(sets)
    self._set_of = {id_: set_ for set_ in sets for id_ in set_}

  def domains(self) -> dict[str, list[str]]:
    """Returns domain -> its ids in all sets.

    Raises:
      InputError: an id is in two sets. The history and the random keys identify a prompt by its id.
    """
    first_in: dict[str, str] = {}
    for set_ in self.sets:
      for id_ in set_:
        if id_ in first_in:
          raise InputError(f"{set_.name}: id {id_!r} is also in {first_in[id_]}, expected it once")
        first_in[id_] = set_.name
    domains: dict[str, list[str]] = {}
    for set_ in self.sets:
      for domain, ids in set_.domains.items():
        domains.setdefault(domain, []).extend(ids)
    return domains

  def digests(self) -> dict[str, str]:
    """Returns domain -> hashes of its prompts and of the data that decide whether a response is correct."""
    digests: dict[str, list[str]] = {}
    for set_ in self.sets:
      for domain, digest in set_.digests.items():
        digests.setdefault(domain, []).append(digest)
    return {domain: " ".join(parts) for domain, parts in digests.items()}

  def record(self, id_: str) -> int:
    """Returns the record index of a prompt in its data set."""
    return self._set_of[id_].record[id_]

  def __getitem__(self, id_: str) -> Prompt:
    return self._set_of[id_][id_]

  def __iter__(self) -> Iterator[str]:
    return iter(self._set_of)

  def __len__(self) -> int:
    return len(self._set_of)
