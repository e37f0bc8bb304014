"""The interface of judges, which decide whether responses are correct, and the judge for math.

The judge for code is in `code`, the judge for user-defined domains in `user_judge`.
"""

import threading
import time
from collections import OrderedDict
from typing import Protocol

from srpo_jax.rewards.answers.echo import form_asked
from srpo_jax.rewards.answers.latex import Unreadable
from srpo_jax.rewards.format import answer_body
from srpo_jax.rewards.math import screen_stated, stated_answer, unread
from srpo_jax.rewards.pool import Done, Reply, WorkerPool
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError

CACHE_SIZE = 65_536  # replies, each for a pair (answer, gold)
CACHED_LENGTH = 1024  # characters of answer and gold together; longer pairs are not cached


def asked_question(request: ScoreRequest) -> str | None:
  """Returns the question that a response answers, or None if the request has none."""
  return next((text for text in (request.asked, request.prompt) if text and text.strip()), None)


class Judge(Protocol):
  """Decides whether responses of one domain are correct."""

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError if a field that the judge needs is missing or unusable."""

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Judges a response and calls `done` with the reply, either at once or later from another thread."""


class MathJudge:
  """Judges math answers. Most are decided in this process at once, the rest with many digits in the workers."""

  def __init__(self, validator: str, pool: WorkerPool):
    """Keeps a reference to the pool, which the caller closes.

    Args:
      validator: the form of an answer, `tags` or `json`.
    """
    self._validator = validator
    self._pool = pool
    self._known: OrderedDict[tuple[str, str, str], Reply] = OrderedDict()
    self._lock = threading.Lock()

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError if the gold answer is missing."""
    if not isinstance(request.answer, str) or not request.answer.strip():
      raise InputError(f"request {request.id}: field answer: expected the gold answer, found {request.answer!r}")

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Judges the `<answer>` of a response against `request.answer`, for the question `request.asked`."""
    begin = time.monotonic()
    body = answer_body(request.response)
    if body is None:
      return done(Reply(0, "no single <answer>", 0.0))
    try:
      stated = stated_answer(body, self._validator)
    except Unreadable as error:
      return done(Reply(0, str(error), time.monotonic() - begin))
    self.compare(stated, request.answer or "", done, question=asked_question(request))

  def compare(self, stated: str, gold: str, done: Done, *, question: str | None = None) -> None:
    """Judges an answer that has already been extracted from its response.

    The reply has `correct` None if the gold answer is not read as a value and the answer is not spelled like it, or if
    the question cannot be searched for an echo.
    """
    begin = time.monotonic()
    try:
      form = form_asked(question, gold)
    except Exception as error:  # a question that crashes the search must not end a run
      reason = f"the search of the question failed: {type(error).__name__}"
      return done(Reply(None, reason, time.monotonic() - begin, False))
    key = (stated, gold, form.value)
    known = self._recall(key)
    if known is not None:
      return done(known)
    try:
      correct, reason = screen_stated(stated, gold, form)
      if correct == 0 and (why := unread(gold)):
        return done(Reply(None, f"the gold answer is not read: {why}", time.monotonic() - begin))
    except Exception as error:  # an answer that crashes the checker is wrong and must not end a run
      return done(Reply(0, f"the checker failed: {type(error).__name__}", time.monotonic() - begin, False))
    if correct is None:
      return self._pool.submit(
        {"domain": "math", "stated": stated, "gold": gold, "form": form.value},
        lambda reply: done(self._remember(key, reply)),
      )
    done(self._remember(key, Reply(correct, reason, time.monotonic() - begin)))

  def _recall(self, key: tuple[str, str, str]) -> Reply | None:
    with self._lock:
      if key in self._known:
        self._known.move_to_end(key)
      return self._known.get(key)

  def _remember(self, key: tuple[str, str, str], reply: Reply) -> Reply:
    if reply.from_checker and sum(map(len, key)) <= CACHED_LENGTH:
      with self._lock:
        self._known[key] = reply
        if len(self._known) > CACHE_SIZE:
          self._known.popitem(last=False)
    return reply
