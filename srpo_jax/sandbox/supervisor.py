"""The process between the trainer and the zygotes: started fresh, with an empty environment, and single-threaded.

It finds the best tier that works here, keeps one zygote a slot, gives each one job at a time, and replaces those that
die. What a zygote had when it died is tried once more. It ends, and all below it, when the trainer's end of the socket
closes.
"""

import collections
import contextlib
import dataclasses
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

from srpo_jax.sandbox import cgroup, frames, interpreter, linux, tiers
from srpo_jax.sandbox.limits import Limits
from srpo_jax.sandbox.probe import PROBE_JOB, verdict
from srpo_jax.sandbox.zygote import SETUP_S, SWEEP_S, Zygote, children

ATTEMPTS = 2
_READY_S = 30.0


@dataclasses.dataclass
class Job:
  """One job as it came, and how often it was given to a zygote."""

  header: dict[str, Any]
  attempts: int = 0

  def frame(self) -> bytes:
    """For a zygote: the sizes of the parts alone in the header, which it reads; the parts, which its children read.

    Raises UnicodeEncodeError for an input that is not text.
    """
    inputs = [text.encode() for text in self.header.get("inputs", ())]
    body = json.dumps({name: value for name, value in self.header.items() if name != "inputs"}).encode()
    header = {"mode": self.header["mode"], "body": len(body), "inputs": [len(text) for text in inputs]}
    return frames.pack(header, b"".join([body, *inputs]))


class Slot:
  """A zygote with its socket and its cgroups; started, and started again, by `start`."""

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
    """Starts the zygote. `close`: descriptors of the supervisor's. Raises OSError saying why it cannot."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
      self._be_zygote(theirs, [*close, ours.fileno()])
    theirs.close()
    ours.settimeout(_READY_S)
    try:
      message = frames.read(ours.recv)
    except OSError:
      message = None
    if self._place.tier == "namespaces":
      _reap(pid)  # it only forked the zygote, which is ours as the nearest subreaper's
      pid = message[0].get("pid", 0) if message else 0
      message = self._second(ours, message)
    self.pid = pid
    if message is None or not message[0].get("ready"):
      ours.close()
      self.end()
      raise OSError(0, message[0].get("error", "?") if message else "the zygote ended before it was ready")
    ours.settimeout(None)
    self.socket, self.buffer = ours, frames.Buffer()

  @staticmethod
  def _second(ours: socket.socket, first: tuple[dict[str, Any], bytes] | None) -> tuple[dict[str, Any], bytes] | None:
    if first is None or "pid" not in first[0]:
      return first
    try:
      return frames.read(ours.recv)
    except OSError:
      return None

  def _be_zygote(self, control: socket.socket, close: list[int]) -> None:
    """In the forked process; never returns."""
    try:
      for descriptor in close:
        with contextlib.suppress(OSError):
          os.close(descriptor)
      if self._place.tier == "namespaces":
        _fork_into_namespaces(control)
      zygote = Zygote(self._place, control)
      control.sendall(frames.pack({"ready": True}))
      zygote.serve()
    except BaseException as error:
      with contextlib.suppress(OSError):
        control.sendall(frames.pack({"error": f"{type(error).__name__}: {error}"}))
    finally:
      os._exit(0)

  def give(self, job: Job) -> None:
    """Sends a job. Raises OSError where the zygote is gone."""
    assert self.socket is not None
    self.job = job
    cases = len(job.header.get("inputs", ())) or 1
    limit = SETUP_S + SWEEP_S + self._place.limits.wall_s
    self.deadline = time.monotonic() + 5 + cases * limit
    self.socket.sendall(job.frame())

  def end(self) -> None:
    """Kills the zygote, and with it what it runs."""
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


def _fork_into_namespaces(control: socket.socket) -> None:
  """The zygote proper becomes the first process of a pid namespace: with it, all of its children end."""
  tiers.enter_namespaces()
  gate, opened = os.pipe()
  pid = os.fork()
  if pid:
    control.sendall(frames.pack({"pid": pid}))
    os.write(opened, b"g")
    os._exit(0)
  os.close(opened)
  os.read(gate, 1)  # its number is told before anything else is
  os.close(gate)


def _reap(pid: int) -> None:
  with contextlib.suppress(ChildProcessError):
    os.waitpid(pid, 0)


class Supervisor:
  """Gives jobs to zygotes and their outcomes to the trainer."""

  def __init__(self, control: socket.socket, options: dict[str, Any]):
    self._control = control
    self._limits = Limits(**options["limits"])
    self._packages = tuple(options["packages"])
    self._paths = interpreter.paths(self._packages)
    self._count = options["slots"]
    self._waiting: collections.deque[Job] = collections.deque()
    self._slots: list[Slot] = []
    self._selector = selectors.DefaultSelector()
    self._buffer = frames.Buffer()

  def run(self, allowed: list[str]) -> None:
    """Serves until the trainer goes; without a tier that works, says so and returns."""
    cgroup.remove_stale()
    tier, reasons = self._probe(allowed)
    try:
      if tier is not None:
        for number in range(1, self._count):
          self._slots.append(self._started(number, tier))
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
    """The best tier in which the probe passes, with its zygote; and why the better ones were passed over."""
    reasons: dict[str, str] = {}
    for tier in allowed:
      reason = tiers.requirement(tier)
      if reason is None:
        slot: Slot | None = None
        try:
          slot = self._started(0, tier)
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

  def _started(self, number: int, tier: str) -> Slot:
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
      events = self._selector.select(timeout=1.0)
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

  def _receive(self) -> bool:
    """Takes jobs; False where the trainer is gone."""
    data = self._control.recv(1 << 20)
    self._waiting.extend(Job(header) for header, _ in self._buffer.add(data))
    return bool(data)

  def _collect(self, slot: Slot) -> bool:
    """Takes a reply; False where the zygote is gone."""
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
    """A new zygote for one that died or hangs; its job goes first once more, or fails."""
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
    except OSError as error:
      while self._waiting and not any(other.socket for other in self._slots):
        self._fail(self._waiting.popleft(), f"no zygote: {error.strerror}")
      return
    assert slot.socket is not None
    self._selector.register(slot.socket, selectors.EVENT_READ, slot)

  def _reap_strays(self) -> None:
    """What a killed zygote left behind is ours as the nearest subreaper's: it has ended with it, and is let go."""
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
        self._replace(slot)  # the last attempt to start one failed; the next job is a reason to try again
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
  """`supervisor DESCRIPTOR OPTIONS`: the trainer's socket, and JSON: limits, packages, slots, tiers."""
  control = socket.socket(fileno=int(sys.argv[1]))
  control.set_inheritable(False)
  options = json.loads(sys.argv[2])
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the trainer ends us, by closing the socket
    signal.signal(number, signal.SIG_IGN)
  linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
  os.chdir("/")
  interpreter.preload(tuple(options["packages"]))
  with contextlib.suppress(BrokenPipeError, ConnectionResetError):
    Supervisor(control, options).run(options["tiers"])
