"""The interface of judges, which decide whether responses are correct, and the judge for math.

The judge for code is in `code`, the judge for user-defined domains in `user_judge`.
"""

import threading
import time
from collections import OrderedDict
from typing import Protocol

from srpo_jax.rewards.answers.latex import Unreadable
from srpo_jax.rewards.format import answer_body
from srpo_jax.rewards.math import screen_stated, stated_answer
from srpo_jax.rewards.pool import Done, Reply, WorkerPool
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError

CACHE_SIZE = 65_536  # replies, each for a pair (answer, gold)
CACHED_LENGTH = 1024  # characters of answer and gold together; longer pairs are not cached


class Judge(Protocol):
  """Decides whether responses of one domain are correct."""

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError if a field that the judge needs is missing or unusable."""

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Judges a response and calls `done` with the reply, either at once or later from another thread."""


class MathJudge:
  """Judges math answers. Most are decided in this process at once, the rest by Math-Verify in the workers."""

  def __init__(self, validator: str, pool: WorkerPool):
    """Keeps a reference to the pool, which the caller closes.

    Args:
      validator: the form of an answer, `tags` or `json`.
    """
    self._validator = validator
    self._pool = pool
    self._known: OrderedDict[tuple[str, str], Reply] = OrderedDict()
    self._lock = threading.Lock()

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError if the gold answer is missing."""
    if not isinstance(request.answer, str) or not request.answer.strip():
      raise InputError(f"request {request.id}: field answer: expected the gold answer, found {request.answer!r}")

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Judges the `<answer>` of a response against `request.answer`."""
    begin = time.monotonic()
    body = answer_body(request.response)
    if body is None:
      return done(Reply(0, "no single <answer>", 0.0))
    try:
      stated = stated_answer(body, self._validator)
    except Unreadable as error:
      return done(Reply(0, str(error), time.monotonic() - begin))
    self.compare(stated, request.answer or "", done)

  def compare(self, stated: str, gold: str, done: Done) -> None:
    """Judges an answer that has already been extracted from its response."""
    begin = time.monotonic()
    key = (stated, gold)
    known = self._recall(key)
    if known is not None:
      return done(known)
    try:
      correct, reason = screen_stated(stated, gold)
    except Exception as error:  # an answer that crashes the checker is wrong and must not end a run
      return done(Reply(0, f"the checker failed: {type(error).__name__}", time.monotonic() - begin, False))
    if correct is None:
      return self._pool.submit(
        {"domain": "math", "stated": stated, "gold": gold}, lambda reply: done(self._remember(key, reply))
      )
    done(self._remember(key, Reply(correct, reason, time.monotonic() - begin)))

  def _recall(self, key: tuple[str, str]) -> Reply | None:
    with self._lock:
      if key in self._known:
        self._known.move_to_end(key)
      return self._known.get(key)

  def _remember(self, key: tuple[str, str], reply: Reply) -> Reply:
    if reply.from_checker and sum(map(len, key)) <= CACHED_LENGTH:
      with self._lock:
        self._known[key] = reply
        if len(self._known) > CACHE_SIZE:
          self._known.popitem(last=False)
    return reply
