"""A pool of killable worker processes that replies to every message within a time limit.

Each worker has a thread that takes messages from one bounded queue. The thread kills and replaces a worker that exceeds
the time limit or dies. If no worker can be started, the replies have `correct` None and the reason, and they come at
once, so that a training step does not wait.
"""

import contextlib
import dataclasses
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from srpo_jax.rewards.process import NotTakenError, StartError, WorkerDiedError, WorkerProcess
from srpo_jax.utils.errors import InputError

START_LIMIT_S = 300.0  # for importing the libraries on a busy machine; does not count toward a message's time limit
RETRY_AFTER_S = 5.0  # after a failed start, replies have `correct` None for this long before the next attempt
QUEUE_LENGTH = 4096


@dataclasses.dataclass(frozen=True)
class Reply:
  """The result of judging one response."""

  correct: int | None  # 1 | 0; None if it could not be judged or a user's judge says so
  reason: str
  time_s: float  # since a worker took the message
  from_checker: bool = True  # False if another attempt may differ, such as after the worker was killed or died
  pass_fraction: float | None = None  # code: the fraction of tests that passed
  fault: str | None = None  # error of a user's judge that must end the run


Done = Callable[[Reply], None]


def default_workers() -> int:
  """Returns half of the cores, but from 2 to 8. Judging takes little time, and the sampler needs the other cores."""
  return max(2, min(8, (os.cpu_count() or 1) // 2))


class WorkerPool:
  """A fixed number of workers, started in the background when the pool is created."""

  def __init__(self, workers: int, timeout_s: float, judges: Mapping[str, str] | None = None):
    """Starts the workers.

    Args:
      workers: the number of worker processes.
      timeout_s: seconds that a worker may spend on one message before it is killed.
      judges: a user's judges that each worker imports, domain -> module:function.

    Raises:
      InputError: `workers` is not a whole number of at least 1, or `timeout_s` is not above 0.
    """
    if not isinstance(workers, int) or workers < 1:
      raise InputError(f"workers: expected a whole number of at least 1, found {workers!r}")
    if not timeout_s > 0:
      raise InputError(f"timeout_s: expected seconds above 0, found {timeout_s!r}")
    self._timeout_s = timeout_s
    self._judges = dict(judges or {})
    self._queue: queue.Queue[tuple[dict[str, Any], Done] | None] = queue.Queue(QUEUE_LENGTH)
    self._lock = threading.Lock()
    self._closing = False
    self._broken_until = 0.0
    self._broken = StartError("")
    self._processes: dict[int, WorkerProcess] = {}  # by slot
    self._threads = [
      threading.Thread(target=self._serve, args=(slot,), name=f"reward-worker-{slot}", daemon=True)
      for slot in range(workers)
    ]
    for thread in self._threads:
      thread.start()

  def submit(self, message: dict[str, Any], done: Done) -> None:
    """Queues a message. Another thread calls `done` with the reply. Blocks only while the queue is full.

    Raises:
      RuntimeError: the pool is closed.
    """
    if self._closing:
      raise RuntimeError("the pool is closed")
    self._queue.put((message, done))

  def pids(self) -> list[int]:
    """Returns the process ids of the workers that are running now."""
    with self._lock:
      return [process.pid for process in self._processes.values()]

  def close(self) -> None:
    """Stops all workers and threads. Messages that have not been judged are dropped."""
    with self._lock:
      self._closing = True
      for process in self._processes.values():
        process.kill()
    with contextlib.suppress(queue.Empty):
      while True:
        self._queue.get_nowait()
    for _ in self._threads:
      self._queue.put(None)
    for thread in self._threads:
      thread.join()

  def _serve(self, slot: int) -> None:
    with contextlib.suppress(StartError):
      self._worker(slot)
    while (item := self._queue.get()) is not None:
      message, done = item
      try:
        reply = self._judge(slot, message)
      except Exception as error:  # a bug in this module must not leave a training step waiting
        self._discard(slot)
        reply = Reply(None, f"the pool failed: {type(error).__name__}: {error}", 0.0, False)
      if self._closing:
        break
      done(reply)
    self._discard(slot)

  def _judge(self, slot: int, message: dict[str, Any]) -> Reply:
    for _ in range(2):  # replaces a worker that died between two messages once
      try:
        worker = self._worker(slot)
      except StartError as error:
        return Reply(None, f"no worker: {error}", 0.0, False, fault=error.fault)
      begin = time.monotonic()
      try:
        answer, time_s = worker.ask(message, self._timeout_s)
        return Reply(time_s=time_s, **answer)
      except NotTakenError:
        self._discard(slot)
      except TimeoutError:
        self._discard(slot)
        return Reply(0, f"took over {self._timeout_s:g} s", time.monotonic() - begin, False)
      except WorkerDiedError as error:
        self._discard(slot)
        return Reply(0, f"the worker died: {error}", time.monotonic() - begin, False)
    return Reply(None, "no worker: two in turn were gone before they took the answer", 0.0, False)

  def _worker(self, slot: int) -> WorkerProcess:
    """Returns the worker of a slot and starts it if needed.

    Raises:
      StartError: the worker cannot be started, or an attempt failed less than RETRY_AFTER_S ago.
    """
    process = self._processes.get(slot)
    if process is not None:
      return process
    if time.monotonic() < self._broken_until:
      raise StartError(str(self._broken), self._broken.fault)
    try:
      process = WorkerProcess(self._judges)
      with self._lock:
        self._processes[slot] = process
        if self._closing:
          process.kill()
      process.wait_ready(START_LIMIT_S)
    except StartError as error:
      self._discard(slot)
      self._broken = error
      self._broken_until = time.monotonic() + RETRY_AFTER_S
      raise
    return process

  def _discard(self, slot: int) -> None:
    with self._lock:
      process = self._processes.pop(slot, None)
    if process is not None:
      process.close()
