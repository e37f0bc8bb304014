"""Trainer's end of the sandbox: sends jobs, calls back with their outcomes and restarts a supervisor that dies."""

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from srpo_jax.sandbox import frames, interpreter
from srpo_jax.sandbox.limits import Limits
from srpo_jax.sandbox.tiers import SLOTS, TIERS
from srpo_jax.utils.errors import InputError

IN_FLIGHT = 512  # unanswered jobs, above which `submit` waits
BYTES_IN_FLIGHT = 256 << 20  # total size of the unanswered jobs; the inputs of one problem may take megabytes
ATTEMPTS = 2  # supervisors that a job is sent to before it fails
SILENT_S = 4.0  # seconds without a sign of life after which a supervisor counts as hanging
_WAITS = 8  # number of short waits in SILENT_S
RETRY_AFTER_S = 5.0  # after a failed start, seconds for which every job fails before the next attempt to start
START_S = 60.0  # seconds that a supervisor has to report that it is ready

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (
  "import sys; root, sys.argv[1:] = sys.argv[1], sys.argv[2:]; sys.path.insert(0, root); "
  "from srpo_jax.sandbox import supervisor; sys.path.remove(root); supervisor.main()"
)
# BLAS gets one thread, because more would count against a child's process limit. Python runs with -I and therefore
# ignores its own variables.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Execution:
  """End and output of one execution.

  Attributes:
    end: "exit", "signal", "timeout" (of processor or wall-clock time) or "output" (more output than the limit).
    code: Exit status or signal number.
    results: Values of the calls as the child wrote them, one line per call. Untrusted: any bytes are possible.
    stdout: Standard output of a script.
    time_s: Seconds that the program ran.
  """

  end: str
  code: int
  results: bytes
  stdout: bytes
  time_s: float


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Result of a job: its executions, or None with the reason if the sandbox itself failed."""

  executions: tuple[Execution, ...] | None
  reason: str = ""


Done = Callable[[Outcome], None]


@dataclasses.dataclass
class _Flight:
  frame: bytes
  done: Done
  attempts: int = 1


class _Room:
  """Bounds the number and the total bytes of unanswered jobs. A single job always fits, however large it is."""

  def __init__(self, jobs: int, size: int):
    self._jobs, self._size, self._whole = jobs, size, size
    self._changed = threading.Condition()

  def enter(self, size: int) -> None:
    with self._changed:
      self._changed.wait_for(lambda: self._jobs > 0 and (size <= self._size or self._size == self._whole))
      self._jobs, self._size = self._jobs - 1, self._size - size

  def leave(self, size: int) -> None:
    with self._changed:
      self._jobs, self._size = self._jobs + 1, self._size + size
      self._changed.notify_all()


class StartError(Exception):
  """Raised when no supervisor can be started."""


class Sandbox:
  """Runs untrusted programs in confined processes.

      with Sandbox(min_tier="namespaces") as sandbox:
        sandbox.submit(job, done)

  Args of the constructor:
    min_tier: Weakest tier to accept: namespaces, bubblewrap, landlock or unsafe (resource limits only).
    tier: The only tier to try. If empty, the best accepted tier that works is used.
    slots: Number of children that run in parallel. 0 means one per core.
    limits: Limits of one execution.
    packages: Packages that programs may import besides the standard library, such as ("numpy",).

  Raises:
    InputError: No accepted tier works (the message gives the reasons), or an argument is out of range.
  """

  def __init__(
    self,
    *,
    min_tier: str = "namespaces",
    tier: str = "",
    slots: int = 0,
    limits: Limits | None = None,
    packages: tuple[str, ...] = (),
  ):
    for name, value in (("min_tier", min_tier), ("tier", tier or TIERS[0])):
      if value not in TIERS:
        raise InputError(f"sandbox.{name}: expected one of {', '.join(TIERS)}, found {value!r}")
    if not isinstance(slots, int) or not 0 <= slots <= SLOTS:
      raise InputError(f"sandbox.slots: expected a whole number from 0 to {SLOTS}, found {slots!r}")
    allowed = TIERS[: TIERS.index(min_tier) + 1]
    if tier and tier not in allowed:
      raise InputError(f"sandbox.tier: {tier} is below sandbox.min_tier {min_tier}")
    limits = limits or Limits()
    if not (limits.test_s > 0 and limits.response_s > 0 and limits.memory > 0 and limits.output > 0):
      raise InputError("sandbox: expected limits above 0")
    self.limits = limits
    self.slots = slots or min(os.cpu_count() or 1, SLOTS)
    self._options = {
      "tiers": [tier] if tier else list(allowed),
      "slots": self.slots,
      "limits": dataclasses.asdict(limits),
      "packages": _folders(packages),
    }
    self.tier = ""
    self.missing: tuple[str, ...] = ()
    self.reasons: dict[str, str] = {}
    self.restarts = -1  # number of supervisors started after the first; the first start makes it 0
    self._zygotes: list[int] = []
    self._flights: dict[int, _Flight] = {}
    self._next = 0
    self._lock = threading.RLock()
    self._sending = threading.Lock()  # separate, because a send may block until the reader thread has read
    self._room = _Room(IN_FLIGHT, BYTES_IN_FLIGHT)
    self._following: queue.SimpleQueue[tuple[Mapping[str, Any], Done] | None] = queue.SimpleQueue()
    self._follower: threading.Thread | None = None
    self._closing = False
    self._broken_until, self._broken = 0.0, ""
    self._silent: int | None = 0  # short waits since the last message. None while one is handled
    self._process: subprocess.Popen[bytes] | None = None
    self._socket: socket.socket | None = None
    try:
      self._start()
    except StartError as error:
      raise InputError(f"sandbox: {error}") from None
    shown = f"; missing: {', '.join(self.missing)}" if self.missing else ""
    passed = "".join(f"; {name}: {reason}" for name, reason in self.reasons.items())
    logging.info("sandbox: tier %s, %d slots%s%s", self.tier, self.slots, shown, passed)

  def submit(self, job: Mapping[str, Any], done: Done) -> None:
    """Queues a job. Waits while too many jobs are unanswered.

    Args:
      job: With `mode` "calls": `program`, `calls` (a list of {"expression"} or {"entry_point", "arguments"}) and
        `imports`. With `mode` "stdin": `program` and `inputs` (a list of texts). In both modes an optional `prelude`
        lists import statements to run before the program, `setup` is text that runs before it, and `limits` names
        limits of this job, such as `test_s`. `recursion_limit`, `in_function` and `one_instance` follow a benchmark's
        own harness, see `guest`.
      done: Called exactly once with the outcome, even if the sandbox fails. The call usually comes from another
        thread. After `close`, unanswered jobs get no call.

    Raises:
      RuntimeError: The sandbox is closed.
    """
    with self._lock:
      number, self._next = self._next, self._next + 1
    flight = _Flight(frames.pack({"id": number, **job}), done)
    self._room.enter(len(flight.frame))
    with self._lock:
      if self._closing:
        self._room.leave(len(flight.frame))
        raise RuntimeError("the sandbox is closed")
      alive = self._socket is not None or self._restarted()
      connection = self._socket
      if alive:
        self._flights[number] = flight
    if not alive:
      return self._answer(flight, Outcome(None, self._broken))
    self._send(connection, flight)

  def submit_next(self, job: Mapping[str, Any], done: Done) -> None:
    """Queues a job from within a callback, which must not wait. Otherwise like `submit`.

    Another thread submits it, because the thread that calls back must go on reading answers.
    """
    with self._lock:
      if self._follower is None:
        self._follower = threading.Thread(target=self._follow, name="sandbox-follower", daemon=True)
        self._follower.start()
    self._following.put((job, done))

  def _follow(self) -> None:
    """Runs in a thread of its own: submits the jobs of `submit_next` until the sandbox is closed."""
    while (next_one := self._following.get()) is not None:
      with contextlib.suppress(RuntimeError):  # the sandbox is closed, and unanswered jobs get no call
        self.submit(*next_one)

  def pids(self) -> list[int]:
    """Returns the process ids of the supervisor and of its first zygotes."""
    with self._lock:
      return [*([self._process.pid] if self._process else []), *self._zygotes]

  def close(self) -> None:
    """Ends all sandbox processes and drops the unanswered jobs."""
    with self._lock:
      self._closing = True
      self._flights.clear()
      self._following.put(None)
      process, connection = self._process, self._socket
    if connection is not None:
      with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    if process is not None:
      _ended(process)
    if self._reader is not threading.current_thread():
      self._reader.join()

  def __enter__(self) -> "Sandbox":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _start(self) -> None:
    """Starts a supervisor and waits until it reports a working tier. Raises StartError."""
    ours, theirs = map(_above_standard, socket.socketpair())
    arguments = [str(_ROOT), str(theirs.fileno()), json.dumps(self._options)]
    try:
      process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", _COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT if self._options["packages"] else {},
        pass_fds=(theirs.fileno(),),
        start_new_session=True,
        cwd="/",
      )
    except OSError as error:
      ours.close()
      raise StartError(f"cannot start {sys.executable}: {error.strerror or error}") from error
    finally:
      theirs.close()
    ours.settimeout(START_S)
    try:
      message = frames.read(ours.recv)
    except OSError:
      message = None
    if message is None or message[0]["tier"] is None:
      ours.close()
      _ended(process)
      raise StartError(_explained(message[0]["reasons"]) if message else "the supervisor ended before it was ready")
    ours.settimeout(None)
    hello = message[0]
    self.tier, self.missing, self.reasons = hello["tier"], tuple(hello["missing"]), hello["reasons"]
    self._zygotes = hello["pids"]
    self._process, self._socket, self._silent = process, ours, 0
    self.restarts += 1
    self._reader = threading.Thread(target=self._read, args=(ours,), name="sandbox-reader", daemon=True)
    self._reader.start()
    watcher = threading.Thread(target=self._watch, args=(process, self._reader), name="sandbox-watch", daemon=True)
    watcher.start()

  def _restarted(self) -> bool:
    """Starts a supervisor and returns True if it runs.

    Returns False without an attempt for RETRY_AFTER_S seconds after a failed one.
    """
    if time.monotonic() < self._broken_until:
      return False
    try:
      self._start()
    except StartError as error:
      self._broken, self._broken_until = f"no sandbox: {error}", time.monotonic() + RETRY_AFTER_S
      logging.warning("sandbox: %s", error)
      return False
    return True

  def _watch(self, process: "subprocess.Popen[bytes]", reader: threading.Thread) -> None:
    """Runs in a thread of its own: kills a supervisor that gives no sign of life. The reader then starts another one.

    It counts short waits rather than seconds. A machine that stood still for a while, with the supervisor on it, is
    only one such wait.
    """
    while reader.is_alive():
      reader.join(SILENT_S / _WAITS)
      if self._silent is not None:
        self._silent += 1
        if self._silent == _WAITS and not self._closing:
          logging.warning("sandbox: the supervisor hangs, killing it")
          _kill(process)

  def _read(self, connection: socket.socket) -> None:
    """Runs in the reader thread: passes on answers until the supervisor ends, then starts another one."""
    try:
      while (message := frames.read(connection.recv)) is not None:
        self._silent = None
        header, payload = message
        with self._lock:
          flight = self._flights.pop(header.get("id", -1), None)  # a sign of life has no id
        if flight is not None:
          self._answer(flight, _outcome(header, payload))
        self._silent = 0
    except OSError:
      pass
    connection.close()
    again, lost, reason = self._recover()
    for flight in lost:
      self._answer(flight, Outcome(None, reason))
    for flight in again:  # without the lock: the new reader thread needs it to read the new supervisor's answers
      self._send(self._socket, flight)

  def _recover(self) -> tuple[list[_Flight], list[_Flight], str]:
    """Starts another supervisor after one ended. Returns the jobs to send again, the failed jobs and the reason."""
    with self._lock:
      self._socket = None
      if self._process is not None:
        _ended(self._process)
        self._process = None
      if self._closing:
        return [], [], ""
      logging.warning("sandbox: the supervisor died with %d jobs in flight, starting another", len(self._flights))
      if not self._restarted():
        lost = list(self._flights.values())
        self._flights = {}
        return [], lost, self._broken
      lost = [flight for flight in self._flights.values() if flight.attempts >= ATTEMPTS]
      self._flights = {number: flight for number, flight in self._flights.items() if flight.attempts < ATTEMPTS}
      for flight in self._flights.values():
        flight.attempts += 1
      return list(self._flights.values()), lost, "the supervisor died over it twice"

  def _send(self, connection: socket.socket | None, flight: _Flight) -> None:
    with self._sending, contextlib.suppress(OSError):  # the reader thread notices a supervisor that has ended
      if connection is not None:
        connection.sendall(flight.frame)

  def _answer(self, flight: _Flight, outcome: Outcome) -> None:
    self._room.leave(len(flight.frame))
    try:
      flight.done(outcome)
    except Exception:  # an escaping exception would end the reader thread, and no further outcome would be read
      logging.exception("sandbox: the callback for an outcome failed")


def _outcome(header: dict[str, Any], payload: bytes) -> Outcome:
  if "outcomes" not in header:
    return Outcome(None, str(header.get("failed", header.get("error", "an answer without outcomes"))))
  executions, place = [], 0
  for one in header["outcomes"]:
    if one["end"] == "setup":
      return Outcome(None, f"the child could not be confined: {one['detail']}")
    middle = place + one["results"]
    end = middle + one["stdout"]
    executions.append(Execution(one["end"], one["code"], payload[place:middle], payload[middle:end], one["time_s"]))
    place = end
  return Outcome(tuple(executions))


def _above_standard(connection: socket.socket) -> socket.socket:
  """Returns the same socket with a descriptor of at least 3.

  A process with closed standard streams hands out their numbers first.
  """
  with connection:
    return socket.socket(fileno=fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def _explained(reasons: Mapping[str, str]) -> str:
  return "no accepted tier works here: " + "; ".join(f"{tier}: {reason}" for tier, reason in reasons.items())


def _folders(packages: tuple[str, ...]) -> tuple[str, ...]:
  try:
    return interpreter.package_folders(packages)
  except ModuleNotFoundError as error:
    raise InputError(f"sandbox.packages: expected installed packages, {error} is not one") from None


def _ended(process: "subprocess.Popen[bytes]") -> None:
  """Waits up to 5 seconds for a supervisor whose socket is closed to end, then kills it."""
  try:
    process.wait(5)
  except subprocess.TimeoutExpired:
    _kill(process)
    process.wait()


def _kill(process: "subprocess.Popen[bytes]") -> None:
  """Kills a supervisor and its zygotes, which are in its process group."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class SandboxOptions:
  """Options that a config sets for `Sandbox`, including the limits of one execution."""

  min_tier: str = "bubblewrap"
  tier: str = ""
  slots: int = 0
  timeout_s: float = 8.0  # processor time of one test
  response_timeout_s: float = 60.0  # processor time of all tests of a response
  memory_mb: int = 1024
  packages: tuple[str, ...] = ()

  def start(self) -> Sandbox:
    """Starts a sandbox with these options. Raises InputError if no accepted tier works or an option is out of range."""
    limits = Limits(self.timeout_s, self.response_timeout_s, memory=self.memory_mb << 20)
    return Sandbox(
      min_tier=self.min_tier, tier=self.tier, slots=self.slots, limits=limits, packages=tuple(self.packages)
    )
