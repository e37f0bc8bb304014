"""Verifies gold answers and reference programs.

A gold answer must be readable as a value and be judged equal to itself, in the same way as a response. A reference
program must pass its tests twice, and the empty program must fail them.

This is the only stage that runs judges and programs, so it is parallel and caches its findings. One SQLite file serves
all curations, and its keys hash everything that a finding depends on. A killed curation therefore resumes where it
stopped, and the next set verifies only rows that are new.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srpo_jax.data.curation.candidate import Candidate
from srpo_jax.data.curation.config import VerifyConfig
from srpo_jax.rewards.answers.read import MAX_GOLD, read_value
from srpo_jax.rewards.answers.value import Many, Opaque, Ordered, Value, Words
from srpo_jax.rewards.code import CodeJudge
from srpo_jax.rewards.judges import MathJudge
from srpo_jax.rewards.pool import Reply, WorkerPool, default_workers
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError, TrainingError
from srpo_jax.utils.fields import names

BATCH = 1024  # candidates per commit
MAX_PROSE = 6  # most words of plain language that a gold answer may have
ATTEMPTS = 2  # for rows that could not be judged or ran out of time
_METHOD = 4  # part of every key; raise it when the meaning of a finding changes


@dataclasses.dataclass(frozen=True)
class Finding:
  """Result of verifying a row: the rule that it breaks and the reason. An empty `rule` means that the row is right."""

  rule: str = ""
  matched: str = ""


class Cache:
  """Cache of findings by content hash, on disk."""

  def __init__(self, file: Path):
    """Opens or creates the cache. Raises InputError if the file is not such a cache."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
      self._database = sqlite3.connect(file, timeout=60)
      self._database.execute("pragma journal_mode=wal")
      self._database.execute("pragma synchronous=normal")
      self._database.execute("create table if not exists findings (key text primary key, rule text, matched text)")
      self._database.commit()
    except sqlite3.DatabaseError as error:
      raise InputError(f"{file}: not a cache of verified rows ({error}); delete it") from None

  def get(self, keys: Sequence[str]) -> dict[str, Finding]:
    """Returns the cached findings among `keys`."""
    found = {}
    for start in range(0, len(keys), 500):  # SQLite limits the number of variables per statement
      part = keys[start : start + 500]
      marks = ",".join("?" * len(part))
      for key, *finding in self._database.execute(f"select * from findings where key in ({marks})", part):
        found[key] = Finding(*finding)
    return found

  def put(self, findings: Mapping[str, Finding]) -> None:
    rows = [(key, finding.rule, finding.matched) for key, finding in findings.items()]
    with self._database:
      self._database.executemany("insert or replace into findings values (?, ?, ?)", rows)

  def close(self) -> None:
    self._database.close()


class Verifier:
  """Verifies the gold answers and programs of candidates.

  with Verifier(config, cache_file) as verifier:
    for candidate, finding in verifier.verify(candidates): ...
  """

  def __init__(self, config: VerifyConfig, cache: Path):
    """Opens the cache and starts the judges. The sandbox starts with the first program.

    Raises:
      InputError: the cache is not readable, or a judge refuses its options.
    """
    self._config = config
    self._cache = Cache(cache)
    self._packages = names(config.packages)
    self._pool = WorkerPool(config.workers or default_workers(), config.timeout_s)
    self._math = MathJudge("tags", self._pool)
    options = SandboxOptions(
      min_tier=config.min_tier, timeout_s=config.timeout_s, memory_mb=config.memory_mb, packages=self._packages
    )
    self._code = CodeJudge("tags", options)

  def verify(self, candidates: Iterator[Candidate]) -> Iterator[tuple[Candidate, Finding]]:
    """Yields each candidate with its finding, in order.

    Raises:
      TrainingError: a row could not be judged for a reason that lies outside the row.
    """
    while batch := list(_take(candidates, BATCH)):
      keys = [self._key(candidate) for candidate in batch]
      known = self._cache.get(keys)
      new = {key: candidate for key, candidate in zip(keys, batch, strict=True) if key not in known}
      if new:
        findings, repeatable = self._judge(new)
        self._cache.put({key: findings[key] for key in repeatable})
        known |= findings
      yield from zip(batch, (known[key] for key in keys), strict=True)

  def close(self) -> None:
    """Closes the cache, the workers and the sandbox."""
    self._cache.close()
    self._pool.close()
    self._code.close()

  def __enter__(self) -> "Verifier":
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  def _key(self, candidate: Candidate) -> str:
    """Returns the hash of everything that a finding depends on."""
    problem = candidate.problem
    if problem.domain == "math":
      parts: list[Any] = ["math", problem.answer, _versions(), self._config.gold]
    else:
      limits = [self._config.timeout_s, self._config.memory_mb, self._packages]
      parts = ["code", problem.tests, candidate.reference, platform.python_version(), limits, self._config.programs]
    return hashlib.sha256(json.dumps([_METHOD, *parts], sort_keys=True, default=str).encode()).hexdigest()

  def _judge(self, new: Mapping[str, Candidate]) -> tuple[dict[str, Finding], list[str]]:
    """Returns findings by key, and the keys of findings that would be the same in another run."""
    findings: dict[str, Finding] = {}
    repeatable: list[str] = []
    todo = dict(new)
    for _ in range(ATTEMPTS):
      replies = self._replies(todo)
      for key, row_replies in replies.items():
        if all(reply.correct is not None for reply in row_replies.values()):
          findings[key] = _finding(row_replies)
          if all(_is_repeatable(reply) for reply in row_replies.values()):
            repeatable.append(key)
      # A row may exceed its time limit because the machine was busy, so such rows are judged once more too.
      todo = {key: todo[key] for key in todo if key not in repeatable}
      if not todo:
        return findings, repeatable
    unjudged = [key for key in todo if key not in findings]
    if unjudged:
      reasons = {reply.reason for reply in replies[unjudged[0]].values() if reply.correct is None}
      raise TrainingError(
        f"row {new[unjudged[0]].problem.id}: could not be verified: {'; '.join(reasons)} (verified rows are kept; "
        "the same command resumes from there)"
      )
    return findings, repeatable

  def _replies(self, todo: Mapping[str, Candidate]) -> dict[str, dict[str, Reply]]:
    """Asks all questions about each row and returns the replies by row key and by name of the question."""
    replies: dict[str, dict[str, Reply]] = {key: {} for key in todo}
    waiting, changed = 0, threading.Condition()

    def note(key: str, name: str, reply: Reply) -> None:
      nonlocal waiting
      with changed:
        replies[key][name] = reply
        waiting -= 1
        changed.notify_all()

    for key, candidate in todo.items():
      for name, ask in self._questions(candidate).items():
        with changed:
          waiting += 1
        ask(lambda reply, key=key, name=name: note(key, name, reply))
    with changed:
      changed.wait_for(lambda: waiting == 0)
    return replies

  def _questions(self, candidate: Candidate) -> dict[str, Any]:
    problem, reference = candidate.problem, candidate.reference
    if problem.domain == "math":
      return {"gold": lambda done: self._ask_gold(problem.id, problem.answer or "", done)} if self._config.gold else {}
    if not self._config.programs:
      return {}
    questions = {"empty": lambda done: self._code.run(problem.tests, "", done)}
    if reference is not None:
      for name in ("first", "second"):
        questions[name] = lambda done: self._code.run(problem.tests, reference, done)
    return questions

  def _ask_gold(self, id: str, gold: str, done: Any) -> None:
    value = read_value(gold, MAX_GOLD)
    if isinstance(value, Opaque):
      return done(Reply(0, f"not read as a value: {value.why}: {gold}", 0.0))
    if _prose_words(value) > MAX_PROSE:
      return done(Reply(0, f"prose, which a right answer would have to repeat word for word: {gold}", 0.0))
    response = f"</think> <answer>\\boxed{{{gold}}}</answer>"
    self._math.submit(ScoreRequest(id, "", response, True, "math", gold), done)


def _finding(replies: Mapping[str, Reply]) -> Finding:
  if "gold" in replies:
    reply = replies["gold"]
    return Finding() if reply.correct else Finding("gold", reply.reason)
  for name in ("first", "second"):
    if name in replies and not replies[name].correct:
      return Finding("reference_fails", replies[name].reason)
  if "empty" in replies and replies["empty"].correct:
    return Finding("empty_program_passes", f"{replies['empty'].reason} by a program without a line")
  return Finding()


def _prose_words(value: Value) -> int:
  """Returns the number of words of plain language in a gold answer."""
  if isinstance(value, Words):
    return len(value.text.split())
  return sum(map(_prose_words, value.items)) if isinstance(value, (Many, Ordered)) else 0


def _is_repeatable(reply: Reply) -> bool:
  """Returns true if another run would give the same reply, that is, if neither a clock nor the machine decided it."""
  return reply.correct is not None and "took" not in reply.reason and "worker" not in reply.reason


def _versions() -> list[str]:
  return [importlib.metadata.version(name) for name in ("math-verify", "mpmath", "sympy")]


def _take(candidates: Iterator[Candidate], count: int) -> Iterator[Candidate]:
  for _, candidate in zip(range(count), candidates, strict=False):
    yield candidate
