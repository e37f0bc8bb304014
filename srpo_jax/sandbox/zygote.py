"""Warm process that forks a confined child for each execution, waits for it and removes everything it leaves.

A child is a copy of its zygote's memory. In a group of responses to one prompt, the text and the return values of an
earlier response would give away the answers, so no child may find them in its memory. A job stays in a mapping that
only the child reads and that is unmapped after the job. Results pass through mappings that a fork does not copy. The
zygote never knows the expected results. It receives one job at a time through its socket.
"""

import contextlib
import dataclasses
import fcntl
import gc
import json
import mmap
import os
import select
import signal
import socket
import time
from typing import Any

from srpo_jax.sandbox import boot, frames, guest, seccomp, tiers

SETUP_S = 20.0  # seconds to confine a child, enough on a busy machine; not part of any program's limit
SWEEP_S = 5.0  # seconds to end the processes that a child of a weak tier left behind
PIECE = 1 << 16  # bytes per read
MAX_REPLY = 64 << 20  # bytes of all executions of a job; more counts as too much output
_HELD = 4 << 20  # bytes above which a mapping gives its memory back after a job
_MAP_NORESERVE = 0x4000
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass
class Outcome:
  """End of one execution, with the sizes of its parts of the reply."""

  end: str = ""  # exit | signal | timeout | output | setup
  code: int = 0  # exit status or signal
  detail: str = ""
  time_s: float = 0.0  # seconds that the program ran
  results: int = 0  # bytes of results in the reply
  stdout: int = 0  # bytes of standard output in the reply


class ControlLostError(Exception):
  """Raised when the supervisor has closed its socket."""


class Area:
  """Byte buffer in a mapping that children do not inherit. `view` returns the bytes added since `clear`."""

  def __init__(self, capacity: int):
    self.capacity, self.size = capacity, 0
    self._memory = mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    self._memory.madvise(mmap.MADV_DONTFORK)
    self._view = memoryview(self._memory)

  def view(self) -> memoryview:
    return self._view[: self.size]

  def add(self, data: memoryview) -> None:
    self._view[self.size : self.size + len(data)] = data
    self.size += len(data)

  def read(self, descriptor: int) -> int:
    """Appends the bytes of one read and returns their number."""
    count = os.readv(descriptor, [self._view[self.size : self.size + PIECE]])
    self.size += count
    return count

  def clear(self) -> None:
    if self.size > _HELD:
      self._memory.madvise(mmap.MADV_DONTNEED)
    self.size = 0


class Zygote:
  """Serves jobs until the supervisor's end of the socket closes."""

  def __init__(self, place: tiers.Place, control: socket.socket):
    self._place = place
    self._control = control
    self._areas = (Area(place.limits.output + 2 * PIECE), Area(place.limits.output + 2 * PIECE))  # results, output
    self._reply = Area(MAX_REPLY)
    self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    tiers.prepare_zygote(place)
    self._namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if place.tier == "namespaces" else None
    if place.tier == "namespaces":
      seccomp.filter_program(1)  # fills the cache that the children inherit
    gc.freeze()  # the collector in a child must not touch, and so copy, the pages that it shares with the zygote

  def serve(self) -> None:
    while (message := frames.receive(self._control)) is not None:
      header, job = message
      self._reply.clear()
      try:
        outcomes = self._run(header, job)
        reply: dict[str, Any] = {"outcomes": [dataclasses.asdict(outcome) for outcome in outcomes]}
      except ControlLostError:
        return
      except Exception as error:
        self._reply.clear()
        reply = {"failed": f"the zygote failed: {type(error).__name__}: {error}"}
      finally:
        job.close()
      self._control.sendall(frames.lengths(reply, self._reply.size))
      self._control.sendall(self._reply.view())

  def _run(self, header: dict[str, Any], job: mmap.mmap) -> list[Outcome]:
    """Runs a job. Returns one outcome for a job of calls, or one per input for a script.

    A script stops at its first input that exceeds the time limit or whose child cannot be confined.
    """
    outcomes = []
    for case in range(len(header["inputs"]) if header["mode"] == "stdin" else 1):
      outcomes.append(self._execute(header, job, case))
      if outcomes[-1].end in ("timeout", "setup"):
        break
    return outcomes

  def _execute(self, header: dict[str, Any], job: mmap.mmap, case: int) -> Outcome:
    with contextlib.ExitStack() as stack:
      results, results_end = _pipe(stack)
      output, output_end = _pipe(stack)
      try:
        pid = tiers.fork_child(self._place, self._namespace)
      except OSError as error:
        os.close(results_end)
        os.close(output_end)
        return Outcome("setup", detail=f"fork: {error.strerror}")
      if pid == 0:
        self._child(header, job, case, output_end, results_end)
      os.close(results_end)
      os.close(output_end)
      for area in self._areas:
        area.clear()
      streams = dict(zip((results, output), self._areas, strict=True))
      try:
        outcome = _Watch(self._place, self._control, pid, streams, results).until_end()
      finally:
        self._clear(pid)
      return self._kept(outcome)

  def _kept(self, outcome: Outcome) -> Outcome:
    """Appends results and then standard output to the reply and returns the outcome with their sizes."""
    limit = self._place.limits.output
    parts = [self._areas[0].view()[1 : 1 + limit], self._areas[1].view()[:limit]]
    if self._reply.size + sum(map(len, parts)) > self._reply.capacity:
      return dataclasses.replace(outcome, end="output")
    for part in parts:
      self._reply.add(part)
    return dataclasses.replace(outcome, results=len(parts[0]), stdout=len(parts[1]))

  def _child(self, header: dict[str, Any], job: mmap.mmap, case: int, output_end: int, results_end: int) -> None:
    """Confines this process, the child, and runs one execution. Never returns."""
    try:
      work = json.loads(job[: header["body"]])
      descriptors = [self._null, self._null, self._null, results_end]
      if header["mode"] == "stdin":
        first = header["body"] + sum(header["inputs"][:case])
        descriptors[:2] = [_memory_file(job[first : first + header["inputs"][case]]), output_end]
      if self._place.tier == "bubblewrap":
        descriptors.append(_memory_file(boot.pack(self._place, work, case)))
      _place_descriptors(descriptors)
      if self._place.tier == "bubblewrap":
        self._become_bubblewrap()
      tiers.confine(self._place)
      os.closerange(guest.RESULTS + 1, 4096)
      os.environ.clear()
    except BaseException as error:
      with contextlib.suppress(OSError):
        os.write(results_end, f"E{type(error).__name__}: {error}".encode())
        os.write(guest.RESULTS, f"E{type(error).__name__}: {error}".encode())
      os._exit(70)
    try:
      guest.run(work, case)
    finally:  # an exception that a program provokes in the guest must not return to the code of the zygote
      os._exit(70)

  def _become_bubblewrap(self) -> None:
    for descriptor in self._place.groups:
      os.write(descriptor, b"0")
    command = tiers.bubblewrap_command(self._place, _PACKAGE, boot.COMMAND)
    tiers.change_uid(self._place.uid)
    os.execve(tiers.bubblewrap_program(), command, {})

  def _clear(self, pid: int) -> None:
    """Kills and reaps the child and all processes that it left."""
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
      os.waitpid(pid, 0)
    deadline = time.monotonic() + SWEEP_S
    while (left := children()) and time.monotonic() < deadline:
      self._kill_uid()
      for number in (signal.SIGSTOP, signal.SIGKILL):
        for other in left:
          with contextlib.suppress(OSError):
            os.kill(other, number)
      with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
          pass
      time.sleep(0.002)

  def _kill_uid(self) -> None:
    """Kills all processes of the slot's uid with one call, because a program may fork faster than it can be traced."""
    uid = self._place.uid
    if uid is None or self._place.tier == "namespaces":  # in namespaces all processes ended with process 1
      return
    pid = os.fork()
    if pid == 0:
      try:
        os.setresuid(uid, uid, uid)
        os.kill(-1, signal.SIGKILL)
      finally:
        os._exit(0)
    os.waitpid(pid, 0)


class _Watch:
  """Reads the output of a child until the child ends or exceeds a limit."""

  def __init__(self, place: tiers.Place, control: socket.socket, pid: int, streams: dict[int, Area], results: int):
    self._limits = place.limits
    self._tier = place.tier
    self._control = control.fileno()
    self._pid = pid
    self._streams = streams
    self._results = results
    self._deadline = time.monotonic() + SETUP_S
    self._began: float | None = None

  def until_end(self) -> Outcome:
    ended = os.pidfd_open(self._pid)
    try:
      return self._finished(self._watch(ended))
    finally:
      os.close(ended)

  def _watch(self, ended: int) -> Outcome:
    poll = select.poll()
    for descriptor in (*self._streams, ended):
      poll.register(descriptor, select.POLLIN)
    poll.register(self._control, 0)
    while True:
      left = self._deadline - time.monotonic()
      events = poll.poll(max(0.0, left) * 1000) if left > 0 else []
      if not events:
        return Outcome("timeout" if self._began else "setup", detail="" if self._began else "not confined in time")
      for descriptor, _ in events:
        if descriptor == self._control:
          raise ControlLostError
        if descriptor in self._streams and not self._read(descriptor):
          poll.unregister(descriptor)
      if self._too_much():
        return Outcome("output")
      if any(descriptor == ended for descriptor, _ in events):
        return self._ended()

  def _read(self, descriptor: int) -> bool:
    """Reads the available bytes. Returns False at the end of the stream."""
    try:
      count = self._streams[descriptor].read(descriptor)
    except BlockingIOError:
      return True
    if self._began is None and self._streams[self._results].view()[:1] == guest.READY:
      self._began = time.monotonic()
      self._deadline = self._began + self._limits.wall_s
    return count > 0

  def _too_much(self) -> bool:
    return any(area.size > self._limits.output for area in self._streams.values())

  def _ended(self) -> Outcome:
    for descriptor, area in self._streams.items():
      while area.size <= self._limits.output:
        before = area.size
        self._read(descriptor)
        if area.size == before:
          break
    if self._too_much():
      return Outcome("output")
    if self._began is None:
      reason = bytes(self._streams[self._results].view()[1:]).decode("utf-8", "replace")
      return Outcome("setup", detail=reason or "ended before it was confined")
    status = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
    assert status is not None
    if self._tier == "bubblewrap" and status.si_status > 128:  # bwrap reports a signal as 128 plus its number
      return Outcome("signal", code=status.si_status - 128)
    return Outcome("exit" if status.si_code == os.CLD_EXITED else "signal", code=status.si_status)

  def _finished(self, outcome: Outcome) -> Outcome:
    outcome.time_s = time.monotonic() - self._began if self._began else 0.0
    return outcome


def children() -> list[int]:
  """Returns the direct children of this process, including zombies."""
  try:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
      return [int(word) for word in file.read().split()]
  except OSError:
    return []


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
  """Opens a pipe. Its reading end is non-blocking and is closed with the stack."""
  reader, writer = os.pipe2(os.O_CLOEXEC)
  os.set_blocking(reader, False)
  stack.callback(os.close, reader)
  return reader, writer


def _memory_file(data: bytes) -> int:
  """Opens an anonymous, sealed file that holds `data`, positioned at its beginning."""
  descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
  with open(descriptor, "wb", closefd=False) as file:
    file.write(data)
  os.lseek(descriptor, 0, os.SEEK_SET)
  fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
  return descriptor


def _place_descriptors(descriptors: list[int]) -> None:
  """Duplicates the given descriptors to 0, 1, 2, ... of this process."""
  high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(descriptors)) for descriptor in descriptors]
  for number, descriptor in enumerate(high):
    os.dup2(descriptor, number)
