"""Process between the trainer and the zygotes. It is a new, single-threaded interpreter with a minimal environment.

The supervisor finds the best tier that works on this host. It keeps one zygote per slot, gives each zygote one job at a
time and replaces zygotes that die. The job of a dead zygote is tried once more. When the trainer's end of the socket
closes, the supervisor and all processes below it end.
"""

import collections
import contextlib
import dataclasses
import json
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from srpo_jax.sandbox import cgroup, frames, interpreter, linux, tiers, zygote
from srpo_jax.sandbox.limits import Limits
from srpo_jax.sandbox.probe import PROBE_JOB, verdict
from srpo_jax.sandbox.watch import SETUP_S
from srpo_jax.sandbox.zygote import SWEEP_S, children

ATTEMPTS = 2  # zygotes that a job is given to before it fails
_SETUP_S = 1.0  # seconds to confine and to clear up one child, in the mean
_BEAT_S = 1.0  # seconds between two signs of life
_READY_S = 30.0  # seconds that a zygote has to become ready, and to answer the probe


@dataclasses.dataclass
class Job:
  """A job from the trainer, with the number of times it was given to a zygote."""

  header: dict[str, Any]
  attempts: int = 0

  def frame(self) -> bytes:
    """Returns the message to a zygote.

    The header holds the mode, the sizes of the parts, the number of tests of one execution and the limits of this job.
    The payload, which only the zygote's children read, holds the parts.

    Raises:
      UnicodeEncodeError: An input cannot be encoded as UTF-8.
    """
    inputs = [text.encode() for text in self.header.get("inputs", ())]
    body = json.dumps({name: value for name, value in self.header.items() if name != "inputs"}).encode()
    header = {"mode": self.header["mode"], "body": len(body), "inputs": [len(text) for text in inputs]}
    header["tests"] = len(self.header.get("calls", ())) or 1
    header["limits"] = self.header.get("limits", {})
    return frames.pack(header, b"".join([body, *inputs]))

  def executions(self) -> int:
    """Returns the number of processes that the job needs."""
    return len(self.header.get("inputs", ())) or 1

  def tests(self) -> int:
    """Returns the number of tests, each of which has its own limit of time."""
    return max(self.executions(), len(self.header.get("calls", ())))


class Slot:
  """A zygote with its socket and its cgroups. `start` starts it, also after its end."""

  def __init__(self, number: int, tier: str, paths: interpreter.Paths, limits: Limits):
    self.groups = cgroup.Groups(str(number), tasks=limits.processes + 8, memory=limits.memory + (64 << 20))
    self._descriptors = tuple(self.groups.open())
    uid = tiers.own_uid(tier, number, paths)
    self._place = tiers.Place(tier, uid, paths, limits, self._descriptors)
    self.missing = [*tiers.missing(self._place), *self.groups.missing]
    self.pid = 0
    self.socket: socket.socket | None = None
    self.buffer = frames.Buffer()
    self.job: Job | None = None
    self.deadline = 0.0

  def start(self, close: list[int]) -> None:
    """Starts the zygote. Call `wait_ready` next.

    Args:
      close: Descriptors of the supervisor that the zygote must close.
    """
    ours, theirs = socket.socketpair()
    self.pid = os.fork()
    if self.pid == 0:
      self._become_zygote(theirs, [*close, ours.fileno()])
    theirs.close()
    ours.settimeout(_READY_S)
    self.socket, self.buffer = ours, frames.Buffer()
    with contextlib.suppress(OSError):  # `wait_ready` notices a zygote that has ended
      ours.sendall(frames.pack({"place": self._place.packed()}))

  def wait_ready(self, beat: Callable[[], object]) -> None:
    """Waits until the zygote can take jobs. Calls `beat` at least once a second.

    Raises:
      OSError: The zygote did not start. The error gives the reason.
    """
    ours = self.socket
    assert ours is not None
    try:
      for _ in range(int(_READY_S)):
        if select.select([ours], [], [], 1.0)[0]:
          break
        beat()
      message = frames.read(ours.recv)
    except OSError:
      message = None
    if self._place.tier == "namespaces":
      _reap(self.pid)  # this process only forked the zygote, which now belongs to the supervisor, the nearest subreaper
      self.pid = message[0].get("pid", 0) if message else 0
      message = self._second(ours, message)
    if message is None or not message[0].get("ready"):
      self.end()
      raise OSError(0, message[0].get("error", "?") if message else "the zygote ended before it was ready")
    ours.settimeout(None)

  @staticmethod
  def _second(ours: socket.socket, first: tuple[dict[str, Any], bytes] | None) -> tuple[dict[str, Any], bytes] | None:
    if first is None or "pid" not in first[0]:
      return first
    try:
      return frames.read(ours.recv)
    except OSError:
      return None

  def _become_zygote(self, control: socket.socket, close: list[int]) -> None:
    """Runs a new zygote in the forked process. Never returns."""
    try:
      for descriptor in close:
        with contextlib.suppress(OSError):
          os.close(descriptor)
      zygote.execute(control, self._descriptors)
    except BaseException as error:
      with contextlib.suppress(OSError):
        control.sendall(frames.pack({"error": f"{type(error).__name__}: {error}"}))
    finally:
      os._exit(0)

  def give(self, job: Job) -> None:
    """Sends a job to the zygote and sets its deadline.

    Raises:
      OSError: The zygote has ended.
      UnicodeEncodeError: An input cannot be encoded as UTF-8.
    """
    assert self.socket is not None
    self.job = job
    limits = dataclasses.replace(self._place.limits, **job.header.get("limits", {}))
    running_s = limits.wall(min(job.tests() * limits.test_s, limits.response_s))
    self.deadline = time.monotonic() + 5 + SETUP_S + SWEEP_S + job.executions() * _SETUP_S + running_s
    self.socket.sendall(job.frame())

  def end(self) -> None:
    """Kills the zygote."""
    if self.socket is not None:
      self.socket.close()
      self.socket = None
    if self.pid:
      with contextlib.suppress(ProcessLookupError):
        os.kill(self.pid, signal.SIGKILL)
      _reap(self.pid)
      self.pid = 0

  def close(self) -> None:
    self.end()
    for descriptor in self._descriptors:
      os.close(descriptor)
    deadline = time.monotonic() + 2
    self.groups.remove()
    while self.groups.remains() and time.monotonic() < deadline:
      time.sleep(0.01)
      self.groups.remove()


def _reap(pid: int) -> None:
  with contextlib.suppress(ChildProcessError):
    os.waitpid(pid, 0)


class Supervisor:
  """Passes jobs from the trainer to the zygotes and outcomes back."""

  def __init__(self, control: socket.socket, options: dict[str, Any]):
    self._control = control
    self._limits = Limits(**options["limits"])
    self._paths = interpreter.paths(tuple(options["packages"]))
    self._count = options["slots"]
    self._waiting: collections.deque[Job] = collections.deque()
    self._slots: list[Slot] = []
    self._selector = selectors.DefaultSelector()
    self._buffer = frames.Buffer()
    self._next_beat = 0.0

  def run(self, allowed: list[str]) -> None:
    """Serves until the trainer closes its socket. If no tier works, reports that and returns."""
    cgroup.remove_stale()
    tier, reasons = self._probe(allowed)
    try:
      if tier is not None:
        for number in range(1, self._count):
          self._slots.append(self._starting(number, tier))
        for slot in self._slots[1:]:
          slot.wait_ready(lambda: None)
        self._register()
      missing = sorted({name for slot in self._slots for name in slot.missing})
      pids = [slot.pid for slot in self._slots]
      self._tell({"tier": tier, "reasons": reasons, "missing": missing, "pids": pids})
      if tier is not None:
        self._serve()
    finally:
      for slot in self._slots:
        slot.close()

  def _probe(self, allowed: list[str]) -> tuple[str | None, dict[str, str]]:
    """Finds the best tier whose probe passes and keeps its first zygote.

    Returns:
      The tier, or None if no allowed tier works, and the reason why each better tier was rejected.
    """
    reasons: dict[str, str] = {}
    for tier in allowed:
      reason = tiers.requirement(tier)
      if reason is None:
        slot: Slot | None = None
        try:
          slot = self._starting(0, tier)
          slot.wait_ready(lambda: None)
          slot.give(Job(PROBE_JOB))
          assert slot.socket is not None
          slot.socket.settimeout(_READY_S)
          reason = verdict(tier, frames.read(slot.socket.recv))
          slot.socket.settimeout(None)
        except (OSError, ValueError) as error:
          reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if reason is None and slot is not None:
          slot.job = None
          self._slots = [slot]
          return tier, reasons
        if slot is not None:
          slot.close()
      reasons[tier] = reason or "?"
    return None, reasons

  def _starting(self, number: int, tier: str) -> Slot:
    slot = Slot(number, tier, self._paths, self._limits)
    try:
      slot.start(self._own_descriptors())
    except BaseException:
      slot.close()
      raise
    return slot

  def _own_descriptors(self) -> list[int]:
    sockets = [slot.socket.fileno() for slot in self._slots if slot.socket is not None]
    return [self._control.fileno(), self._selector.fileno(), *sockets]

  def _register(self) -> None:
    self._selector.register(self._control, selectors.EVENT_READ, None)
    for slot in self._slots:
      assert slot.socket is not None
      self._selector.register(slot.socket, selectors.EVENT_READ, slot)

  def _serve(self) -> None:
    while True:
      events = self._selector.select(timeout=_BEAT_S)
      self._beat()
      if not events:
        self._reap_strays()
      for key, _ in events:
        if key.data is None:
          if not self._receive():
            return
        elif not self._collect(key.data):
          self._replace(key.data)
      for slot in self._slots:
        if slot.job is not None and time.monotonic() > slot.deadline:
          self._replace(slot)
      self._give_out()

  def _beat(self) -> None:
    """Gives the trainer a sign of life, at most one per _BEAT_S."""
    if time.monotonic() >= self._next_beat:
      self._next_beat = time.monotonic() + _BEAT_S
      self._tell({"beat": True})

  def _receive(self) -> bool:
    """Receives jobs. Returns False if the trainer has closed its socket."""
    data = self._control.recv(1 << 20)
    self._waiting.extend(Job(header) for header, _ in self._buffer.add(data))
    return bool(data)

  def _collect(self, slot: Slot) -> bool:
    """Receives a reply and passes it on. Returns False if the zygote has ended."""
    assert slot.socket is not None
    try:
      data = slot.socket.recv(1 << 20)
    except OSError:
      return False
    for header, payload in slot.buffer.add(data):
      if slot.job is not None:
        self._tell({"id": slot.job.header["id"], **header}, payload)
      slot.job = None
    return bool(data)

  def _replace(self, slot: Slot) -> None:
    """Replaces a zygote that died or hangs. Its job returns to the head of the queue, or fails after ATTEMPTS."""
    if slot.socket is not None:
      self._selector.unregister(slot.socket)
    slot.end()
    job, slot.job = slot.job, None
    if job is not None and job.attempts < ATTEMPTS:
      self._waiting.appendleft(job)
    elif job is not None:
      self._fail(job, "the zygote died over it twice")
    try:
      slot.start(self._own_descriptors())
      slot.wait_ready(self._beat)
    except OSError as error:
      while self._waiting and not any(other.socket for other in self._slots):
        self._fail(self._waiting.popleft(), f"no zygote: {error.strerror}")
      return
    assert slot.socket is not None
    self._selector.register(slot.socket, selectors.EVENT_READ, slot)

  def _reap_strays(self) -> None:
    """Reaps the processes that a killed zygote left behind.

    They ended with the zygote, and the supervisor inherited them as the nearest subreaper.
    """
    known = {slot.pid for slot in self._slots}
    for pid in set(children()) - known:
      with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)

  def _fail(self, job: Job, reason: str) -> None:
    self._tell({"id": job.header["id"], "failed": reason})

  def _give_out(self) -> None:
    for slot in self._slots:
      if not self._waiting:
        return
      if slot.socket is None:
        self._replace(slot)  # the last attempt to start a zygote failed, so each new job is a reason to try again
      if slot.socket is not None and slot.job is None and self._waiting:
        job = self._waiting.popleft()
        job.attempts += 1
        try:
          slot.give(job)
        except UnicodeEncodeError as error:
          slot.job = None
          self._fail(job, f"an input cannot be sent: {type(error).__name__}")
        except OSError:
          self._replace(slot)

  def _tell(self, header: dict[str, Any], payload: bytes = b"") -> None:
    self._control.sendall(frames.pack(header, payload))


def main() -> None:
  """Runs `supervisor DESCRIPTOR OPTIONS`.

  DESCRIPTOR is the socket to the trainer. OPTIONS is a JSON object with limits, packages, slots and tiers.
  """
  control = socket.socket(fileno=int(sys.argv[1]))
  control.set_inheritable(False)
  options = json.loads(sys.argv[2])
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # only the closed socket ends the supervisor
    signal.signal(number, signal.SIG_IGN)
  linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
  os.chdir("/")
  linux.fix_addresses()
  with contextlib.suppress(BrokenPipeError, ConnectionResetError):
    Supervisor(control, options).run(options["tiers"])
