"""Warm process that has a confined child forked for each execution, waits for it and removes everything it leaves.

A zygote starts as a fresh interpreter, so that its memory does not depend on what the supervisor did before. It forks a
`template` at once and only then reads jobs. In a group of responses to one prompt, the text and the return values of an
earlier response would give away the answers. A child is a copy of the template, which has seen none. The zygote never
knows the expected results. It receives one job at a time through its socket.
"""

import contextlib
import dataclasses
import fcntl
import gc
import json
import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from srpo_jax.sandbox import boot, frames, guest, interpreter, linux, seccomp, tiers
from srpo_jax.sandbox.limits import Limits
from srpo_jax.sandbox.template import Template, TemplateLostError
from srpo_jax.sandbox.watch import ControlLostError, Outcome, Watch

SWEEP_S = 5.0  # seconds to end the processes that a child of a weak tier left behind
MAX_REPLY = 64 << 20  # bytes of all executions of a job; more counts as too much output
CONTROL = 60  # descriptor of the socket to the supervisor
GROUPS = 50  # first descriptor of the slot's cgroups, above the descriptors that a child receives
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_COMMAND = (
  "import sys; sys.path.insert(0, sys.argv[1]); from srpo_jax.sandbox import zygote; del sys.path[0]; "
  "zygote.main(int(sys.argv[2]))"
)


def execute(control: socket.socket, groups: tuple[int, ...]) -> NoReturn:
  """Replaces this process by a new zygote.

  Args:
    control: Socket to the supervisor, which must send the packed `Place` first.
    groups: Descriptors of the slot's cgroups.

  Raises:
    OSError: The interpreter cannot be started.
  """
  _place_descriptors({CONTROL: control.fileno()} | {GROUPS + number: one for number, one in enumerate(groups)})
  command = [sys.executable, *interpreter.FLAGS, "-c", _COMMAND, os.path.dirname(_PACKAGE), str(len(groups))]
  environment = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
  os.execve(sys.executable, command, environment | dict([interpreter.HASH_SEED]))


def main(groups: int) -> NoReturn:
  """Serves as a zygote in a fresh interpreter. Never returns."""
  os.closerange(3, GROUPS)
  for descriptor in (CONTROL, *range(GROUPS, GROUPS + groups)):
    os.set_inheritable(descriptor, False)
  control = socket.socket(fileno=CONTROL)
  try:
    message = frames.read(control.recv)
    if message is not None:
      place = tiers.Place.unpacked(message[0]["place"], tuple(range(GROUPS, GROUPS + groups)))
      interpreter.preload(place.paths.packages)
      linux.wipe_environment()
      if place.tier == "namespaces":
        _fork_into_namespaces(control)
      zygote = Zygote(place, control)
      control.sendall(frames.pack({"ready": True}))
      zygote.serve()
  except BaseException as error:
    with contextlib.suppress(OSError):
      control.sendall(frames.pack({"error": f"{type(error).__name__}: {error}"}))
  finally:
    os._exit(0)


def _fork_into_namespaces(control: socket.socket) -> None:
  """Forks the zygote into new namespaces and returns in the zygote. The calling process ends.

  The zygote becomes process 1 of a pid namespace, so the kernel kills all of its descendants when it ends.
  """
  tiers.enter_namespaces()
  gate, opened = os.pipe()
  pid = os.fork()
  if pid:
    control.sendall(frames.pack({"pid": pid}))
    os.write(opened, b"g")
    os._exit(0)
  os.close(opened)
  os.read(gate, 1)  # the message with the process id must reach the supervisor before any other
  os.close(gate)


class Zygote:
  """Serves jobs until the supervisor's end of the socket closes."""

  def __init__(self, place: tiers.Place, control: socket.socket):
    self._place = place
    self._control = control
    tiers.prepare_zygote(place)
    if place.tier == "namespaces":
      seccomp.filter_program(1)  # fills the cache that the children inherit
    guest.hide_own_text()
    gc.freeze()  # the collector in a child must not touch, and so copy, the pages that it shares with the template
    self._template = Template(place, self._child, [control.fileno()])

  def serve(self) -> None:
    while (message := frames.read(self._control.recv)) is not None:
      header, payload = message
      parts: list[memoryview] = []
      try:
        outcomes = self._run(header, memoryview(payload), parts)
        reply: dict[str, Any] = {"outcomes": [dataclasses.asdict(outcome) for outcome in outcomes]}
      except (ControlLostError, TemplateLostError):
        return
      except Exception as error:
        parts.clear()
        reply = {"failed": f"the zygote failed: {type(error).__name__}: {error}"}
      self._control.sendall(frames.lengths(reply, sum(map(len, parts))))
      for part in parts:
        self._control.sendall(part)

  def _run(self, header: dict[str, Any], payload: memoryview, parts: list[memoryview]) -> list[Outcome]:
    """Runs a job. Returns one outcome for a job of calls, or one per input for a script.

    A script stops at its first input that exceeds a limit of time or whose child cannot be confined.

    Args:
      header: Sizes of the parts of the payload.
      payload: Job and inputs.
      parts: Gets the results and the standard output of each execution.
    """
    outcomes: list[Outcome] = []
    job, place = payload[: header["body"]], header["body"]
    limits = dataclasses.replace(self._place.limits, **header["limits"])
    for size in header["inputs"] if header["mode"] == "stdin" else [None]:
      given = None if size is None else payload[place : place + size]
      place += size or 0
      outcomes.append(self._execute(job, given, header["tests"], limits, parts))
      limits = dataclasses.replace(limits, response_s=limits.response_s - outcomes[-1].processor_s)
      if outcomes[-1].end in ("timeout", "setup") or limits.response_s <= 0:
        break
    return outcomes

  def _execute(
    self, job: memoryview, given: memoryview | None, tests: int, limits: Limits, parts: list[memoryview]
  ) -> Outcome:
    """Runs one execution of a job, with `given` as its standard input if it is a script."""
    with contextlib.ExitStack() as stack:
      results, results_end = _pipe(stack)
      output, output_end = _pipe(stack)
      files = [_memory_file(job), *([] if given is None else [_memory_file(given)])]
      try:
        pid = self._template.fork([results_end, output_end, *files])
      except OSError as error:
        return Outcome("setup", detail=f"fork: {error.strerror}")
      finally:
        for descriptor in (results_end, output_end, *files):
          os.close(descriptor)
      watch = Watch(limits, self._place.tier, self._control.fileno(), pid, (results, output), tests=tests)
      try:
        outcome = watch.until_end()
      finally:
        used_s = self._clear(pid)
    outcome.processor_s = used_s
    kept = watch.kept()
    if sum(map(len, (*parts, *kept))) > MAX_REPLY:
      return dataclasses.replace(outcome, end="output")
    parts += kept
    return dataclasses.replace(outcome, results=len(kept[0]), stdout=len(kept[1]))

  def _child(self, descriptors: list[int]) -> NoReturn:
    """Confines this process, the child, and runs one execution."""
    results, output, job, *given = descriptors
    try:
      with open(job, "rb") as file:
        work = json.loads(file.read())
      null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)  # each child has its own flags on it
      placed = [null, null, null, results]
      if given:
        placed[:2] = [given[0], output]
      if self._place.tier == "bubblewrap":
        placed.append(_memory_file(boot.pack(self._place, work)))
      _place_descriptors(dict(enumerate(placed)))
      if self._place.tier == "bubblewrap":
        self._become_bubblewrap()
      tiers.confine(self._place)
      os.closerange(guest.RESULTS + 1, 4096)
      os.environ.clear()
      interpreter.seed()
    except BaseException as error:
      with contextlib.suppress(OSError):
        os.write(results, f"E{type(error).__name__}: {error}".encode())
      with contextlib.suppress(OSError):  # the first is closed once the descriptors are in place
        os.write(guest.RESULTS, f"E{type(error).__name__}: {error}".encode())
      os._exit(70)
    try:
      guest.run(work)
    finally:  # an exception that a program provokes in the guest must not return to the code of the template
      os._exit(70)

  def _become_bubblewrap(self) -> None:
    for descriptor in self._place.groups:
      os.write(descriptor, b"0")
    command = tiers.bubblewrap_command(self._place, _PACKAGE, boot.COMMAND)
    tiers.change_uid(self._place.uid)
    os.execve(tiers.bubblewrap_program(), command, {})

  def _clear(self, pid: int) -> float:
    """Kills and reaps the child and all processes that it left. Returns the child's processor time in seconds."""
    used_s = 0.0
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
      usage = os.wait4(pid, 0)[2]
      used_s = usage.ru_utime + usage.ru_stime
    deadline = time.monotonic() + SWEEP_S
    while (left := [other for other in children() if other != self._template.pid]) and time.monotonic() < deadline:
      self._kill_uid()
      for number in (signal.SIGSTOP, signal.SIGKILL):
        for other in left:
          with contextlib.suppress(OSError):
            os.kill(other, number)
      with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
          pass
      time.sleep(0.002)
    return used_s

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


def _memory_file(data: bytes | memoryview) -> int:
  """Opens an anonymous, sealed file that holds `data`, positioned at its beginning."""
  descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
  with open(descriptor, "wb", closefd=False) as file:
    file.write(data)
  os.lseek(descriptor, 0, os.SEEK_SET)
  fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
  return descriptor


def _place_descriptors(placed: dict[int, int]) -> None:
  """Duplicates descriptors of this process to the numbers that are their keys."""
  above = max(placed) + 1
  high = {number: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for number, descriptor in placed.items()}
  for number, descriptor in high.items():
    os.dup2(descriptor, number)
