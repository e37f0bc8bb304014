"""Reads the results and the output of a child until the child ends or exceeds a limit."""

import dataclasses
import os
import select
import time

from srpo_jax.sandbox import guest
from srpo_jax.sandbox.limits import Limits

SETUP_S = 20.0  # seconds to confine a child, enough on a busy machine; not part of any program's limit
_PIECE = 1 << 16  # bytes per read
_NAP_S = 0.01  # shortest time between two looks at a child's processor time


@dataclasses.dataclass
class Outcome:
  """End of one execution, with the sizes of its parts of the reply."""

  end: str = ""  # exit | signal | timeout | output | setup
  code: int = 0  # exit status or signal
  detail: str = ""
  time_s: float = 0.0  # seconds that the program ran
  processor_s: float = 0.0  # processor seconds that the child used, and its own children that it waited for
  results: int = 0  # bytes of results in the reply
  stdout: int = 0  # bytes of standard output in the reply


class ControlLostError(Exception):
  """Raised when the supervisor has closed its socket."""


class _Clock:
  """Measures a program from the moment it may run, against the limits of its tests.

  A test ends when its line of results arrives. A program that sends lines of its own gains nothing, because it is never
  given more time than `tests` tests have together.
  """

  def __init__(self, pid: int, limits: Limits, *, in_tree: bool, tests: int):
    self._pid, self._limits, self._in_tree, self._tests = pid, limits, in_tree, tests
    self._began, self._before = time.monotonic(), self._used()
    self._test_began, self._test_before = self._began, self._before

  def next_tests(self, count: int) -> None:
    """Begins the next test after `count` lines of results."""
    if count and self._tests > 1:
      self._tests = max(1, self._tests - count)
      self._test_began, self._test_before = time.monotonic(), self._used()

  def left(self) -> float:
    """Returns the seconds until the program can first exceed a limit, or 0 if it has."""
    now, used = time.monotonic(), self._used()
    processor_s = min(self._limits.test_s - (used - self._test_before), self._limits.response_s - (used - self._before))
    test_wall = self._limits.wall(self._limits.test_s) - (now - self._test_began)
    wall_s = min(test_wall, self._limits.wall(self._limits.response_s) - (now - self._began))
    return 0.0 if min(processor_s, wall_s) <= 0 else max(_NAP_S, min(processor_s, wall_s))

  def time_s(self) -> float:
    """Returns the seconds that the program has run."""
    return time.monotonic() - self._began

  def _used(self) -> float:
    return sum(map(_processor_s, _tree(self._pid) if self._in_tree else [self._pid]))


def _processor_s(pid: int) -> float:
  """Returns the processor time of a process in seconds, or 0 if it has ended."""
  try:
    return time.clock_gettime(~pid << 3 | 2)  # the kernel's number of the clock CPUCLOCK_SCHED of a process
  except OSError:
    return 0.0


def _tree(pid: int) -> list[int]:
  """Returns a process and all its descendants."""
  try:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
      below = [int(word) for word in file.read().split()]
  except OSError:
    below = []
  return [pid, *(other for child in below for other in _tree(child))]


class Watch:
  """Reads the output of a child until the child ends or exceeds a limit.

  Args of the constructor:
    limits: Limits of this execution. `response_s` is the processor time left for the response.
    tier: Tier of the child.
    control: Descriptor of the zygote's socket to the supervisor.
    pid: Process id of the child.
    streams: Reading ends of the pipes for results and for standard output.
    tests: Number of tests that this execution runs.
  """

  def __init__(self, limits: Limits, tier: str, control: int, pid: int, streams: tuple[int, int], *, tests: int):
    self._limits, self._tier = limits, tier
    self._control, self._pid, self._tests = control, pid, tests
    self._results, self._output = streams
    self._data = {descriptor: bytearray() for descriptor in streams}
    self._setup_end = time.monotonic() + SETUP_S
    self._clock: _Clock | None = None

  def until_end(self) -> Outcome:
    """Waits for the end of the child."""
    ended = os.pidfd_open(self._pid)
    try:
      outcome = self._watch(ended)
    finally:
      os.close(ended)
    if self._clock is not None:
      outcome.time_s = self._clock.time_s()
    return outcome

  def kept(self) -> tuple[memoryview, memoryview]:
    """Returns the results and the standard output, each cut at the limit."""
    limit = self._limits.output
    return memoryview(self._data[self._results])[1 : 1 + limit], memoryview(self._data[self._output])[:limit]

  def _watch(self, ended: int) -> Outcome:
    poll = select.poll()
    for descriptor in (*self._data, ended):
      poll.register(descriptor, select.POLLIN)
    poll.register(self._control, 0)
    while True:
      left = self._clock.left() if self._clock is not None else self._setup_end - time.monotonic()
      if left <= 0:
        return Outcome("timeout") if self._clock else Outcome("setup", detail="not confined in time")
      for descriptor, _ in (events := poll.poll(left * 1000)):
        if descriptor == self._control:
          raise ControlLostError
        if descriptor in self._data and not self._read(descriptor):
          poll.unregister(descriptor)
      if self._too_much():
        return Outcome("output")
      if any(descriptor == ended for descriptor, _ in events):
        return self._ended()

  def _read(self, descriptor: int) -> bool:
    """Reads the available bytes. Returns False at the end of the stream."""
    try:
      piece = os.read(descriptor, _PIECE)
    except BlockingIOError:
      return True
    self._data[descriptor] += piece
    if self._clock is None and self._data[self._results][:1] == guest.READY:
      in_tree = self._tier in ("bubblewrap", "unsafe")  # where the program is not the child, or may have children
      self._clock = _Clock(self._pid, self._limits, in_tree=in_tree, tests=self._tests)
    if descriptor == self._results and self._clock is not None:
      self._clock.next_tests(piece.count(b"\n"))
    return bool(piece)

  def _too_much(self) -> bool:
    return any(len(data) > self._limits.output for data in self._data.values())

  def _ended(self) -> Outcome:
    for descriptor, data in self._data.items():
      while len(data) <= self._limits.output:
        before = len(data)
        self._read(descriptor)
        if len(data) == before:
          break
    if self._too_much():
      return Outcome("output")
    if self._clock is None:
      reason = bytes(self._data[self._results][1:]).decode("utf-8", "replace")
      return Outcome("setup", detail=reason or "ended before it was confined")
    status = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
    assert status is not None
    if self._tier == "bubblewrap" and status.si_status > 128:  # bwrap reports a signal as 128 plus its number
      return Outcome("signal", code=status.si_status - 128)
    return Outcome("exit" if status.si_code == os.CLD_EXITED else "signal", code=status.si_status)
