"""A warm process that serves jobs: for each it forks a runner, which forks a confined child for every execution.

    zygote -> runner (reads one job, watches its children, replies, ends) -> child (confined; runs the program)

A child is a copy of its runner's memory. The zygote itself never reads a job, so no child finds there the program, the
inputs or the values of an earlier response, which in a group of responses to one prompt would be the answers. The
runner knows the program and the inputs, never what is expected. One job at a time comes through the socket.
"""

import contextlib
import dataclasses
import fcntl
import gc
import os
import select
import signal
import socket
import time
from typing import Any

from srpo_jax.sandbox import boot, frames, guest, seccomp, tiers

SETUP_S = 20.0  # to confine a child, on a busy machine; not part of any program's limit
SWEEP_S = 5.0  # to end what a child of a weak tier left behind
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass
class Outcome:
  """How one execution ended, with what it wrote."""

  end: str = ""  # exit | signal | timeout | output | setup
  code: int = 0  # exit status or signal
  detail: str = ""
  time_s: float = 0.0
  results: bytes = b""
  stdout: bytes = b""

  def header(self) -> dict[str, Any]:
    sizes = {"results": len(self.results), "stdout": len(self.stdout)}
    return {"end": self.end, "code": self.code, "detail": self.detail, "time_s": self.time_s, **sizes}


class ControlLostError(Exception):
  """The supervisor is gone."""


class Zygote:
  """Serves jobs until the supervisor's end of the socket closes."""

  def __init__(self, place: tiers.Place, control: socket.socket):
    self._place = place
    self._control = control
    self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    tiers.prepare_zygote(place)
    self._namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if place.tier == "namespaces" else None
    if place.tier == "namespaces":
      seccomp.filter_program(1)  # made here once
    gc.freeze()  # what is here stays: children share its pages rather than touch them

  def serve(self) -> None:
    """Returns where the supervisor is gone, or where a runner ended without its reply."""
    while self._asked():
      pid = os.fork()
      if pid == 0:
        self._be_runner()
      if os.waitpid(pid, 0)[1] != 0:
        return

  def _asked(self) -> bool:
    """Waits for a job without reading it; False where the supervisor is gone."""
    return bool(self._control.recv(1, socket.MSG_PEEK))

  def _be_runner(self) -> None:
    """In the forked process: serves one job; never returns."""
    status = 1
    try:
      tiers.prepare_runner()
      message = frames.read(self._control.recv)
      if message is not None:
        outcomes = self._run(message[0])
        payload = b"".join(part for outcome in outcomes for part in (outcome.results, outcome.stdout))
        self._control.sendall(frames.pack({"outcomes": [outcome.header() for outcome in outcomes]}, payload))
        status = 0
    except ControlLostError:
      pass
    except Exception as error:
      with contextlib.suppress(OSError):
        self._control.sendall(frames.pack({"failed": f"the runner failed: {type(error).__name__}: {error}"}))
        status = 0
    finally:
      os._exit(status)

  def _run(self, job: dict[str, Any]) -> list[Outcome]:
    """One outcome for a job of calls; one for each input of a script, the last where it first takes too long."""
    outcomes = []
    for case in range(len(job["inputs"]) if job["mode"] == "stdin" else 1):
      outcomes.append(self._execute(job, case))
      if outcomes[-1].end in ("timeout", "setup"):
        break
    return outcomes

  def _execute(self, job: dict[str, Any], case: int) -> Outcome:
    with contextlib.ExitStack() as stack:
      results, results_end = _pipe(stack)
      output, output_end = _pipe(stack)
      source = self._null
      if job["mode"] == "stdin":
        source = _memory_file(stack, job["inputs"][case].encode("utf-8", "surrogateescape"))
      descriptors = [source, output_end if job["mode"] == "stdin" else self._null, self._null, results_end]
      if self._place.tier == "bubblewrap":
        descriptors.append(_memory_file(stack, boot.pack(self._place, job | {"inputs": []}, case)))
      try:
        pid = tiers.fork_child(self._place, self._namespace)
      except OSError as error:
        return Outcome("setup", detail=f"fork: {error.strerror}")
      if pid == 0:
        self._child(job, case, descriptors)
      os.close(results_end)
      os.close(output_end)
      try:
        return _Watch(self._place, self._control, pid, results, output).until_end()
      finally:
        self._clear(pid)

  def _child(self, job: dict[str, Any], case: int, descriptors: list[int]) -> None:
    """In the child; never returns."""
    try:
      _place_descriptors(descriptors)
      if self._place.tier == "bubblewrap":
        self._become_bubblewrap()
      tiers.confine(self._place)
      os.closerange(guest.RESULTS + 1, 4096)
      os.environ.clear()
    except BaseException as error:
      with contextlib.suppress(OSError):
        os.write(guest.RESULTS, f"E{type(error).__name__}: {error}".encode())
      os._exit(70)
    try:
      guest.run(job, case)
    finally:  # what a program makes the guest raise must not run on in the code of the runner
      os._exit(70)

  def _become_bubblewrap(self) -> None:
    for descriptor in self._place.groups:
      os.write(descriptor, b"0")
    command = tiers.bubblewrap_command(self._place, _PACKAGE, boot.COMMAND)
    tiers.change_uid(self._place.uid)
    os.execve(tiers.bubblewrap_program(), command, {})

  def _clear(self, pid: int) -> None:
    """Ends and reaps the child and whatever it left."""
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
    """Ends all that runs under the slot's uid, at one stroke: programs that fork faster than they are found."""
    uid = self._place.uid
    if uid is None or self._place.tier == "namespaces":  # there the end of process 1 ended all
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
  """Reads what a child writes until it ends, or until it is over a limit."""

  def __init__(self, place: tiers.Place, control: socket.socket, pid: int, results: int, output: int):
    self._limits = place.limits
    self._tier = place.tier
    self._control = control.fileno()
    self._pid = pid
    self._results, self._output = results, output
    self._data = {results: bytearray(), output: bytearray()}
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
    for descriptor in (self._results, self._output, ended):
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
        if descriptor in self._data and not self._read(descriptor):
          poll.unregister(descriptor)
      if self._too_much():
        return Outcome("output")
      if any(descriptor == ended for descriptor, _ in events):
        return self._ended()

  def _read(self, descriptor: int) -> bool:
    """Takes what is there; whether more may come."""
    try:
      piece = os.read(descriptor, 1 << 16)
    except BlockingIOError:
      return True
    self._data[descriptor] += piece
    if self._began is None and self._data[self._results][:1] == guest.READY:
      self._began = time.monotonic()
      self._deadline = self._began + self._limits.wall_s
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
    if self._began is None:
      reason = bytes(self._data[self._results][1:]).decode("utf-8", "replace")
      return Outcome("setup", detail=reason or "ended before it was confined")
    status = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
    assert status is not None
    if self._tier == "bubblewrap" and status.si_status > 128:  # as bwrap tells of a signal
      return Outcome("signal", code=status.si_status - 128)
    return Outcome("exit" if status.si_code == os.CLD_EXITED else "signal", code=status.si_status)

  def _finished(self, outcome: Outcome) -> Outcome:
    outcome.time_s = time.monotonic() - self._began if self._began else 0.0
    outcome.results = bytes(self._data[self._results][1 : self._limits.output])
    outcome.stdout = bytes(self._data[self._output][: self._limits.output])
    return outcome


def children() -> list[int]:
  """The direct children of this process, zombies included."""
  try:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
      return [int(word) for word in file.read().split()]
  except OSError:
    return []


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
  """A pipe whose reading end does not wait and is closed at the end."""
  reader, writer = os.pipe2(os.O_CLOEXEC)
  os.set_blocking(reader, False)
  stack.callback(os.close, reader)
  return reader, writer


def _memory_file(stack: contextlib.ExitStack, data: bytes) -> int:
  """A file without a name that holds `data` and cannot be changed, read from its beginning."""
  descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
  stack.callback(os.close, descriptor)
  with open(descriptor, "wb", closefd=False) as file:
    file.write(data)
  os.lseek(descriptor, 0, os.SEEK_SET)
  fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
  return descriptor


def _place_descriptors(descriptors: list[int]) -> None:
  """Makes these the descriptors 0, 1, 2, ... of this process."""
  high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(descriptors)) for descriptor in descriptors]
  for number, descriptor in enumerate(high):
    os.dup2(descriptor, number)
