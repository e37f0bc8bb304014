"""One worker process that can be killed: started by `Popen`, spoken to over its own pipes.

Never forked from a process that holds JAX, and never left behind: the worker ends when its input ends, and the kernel
kills it when the thread that started it dies. Sending a message of over 64 KiB waits for the worker to read it, within
the limit of time.
"""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

MEMORY_LIMIT = 2 * 1024**3  # bytes of address space

_HEADER = struct.Struct(">I")
_ROOT = str(Path(__file__).resolve().parents[2])


class StartError(Exception):
  """No worker could be started.

  Attributes:
    fault: the error, where a user's judge cannot be imported: another attempt would fail too.
  """

  def __init__(self, message: str, fault: str | None = None):
    super().__init__(message)
    self.fault = fault


class NotTakenError(Exception):
  """The worker was gone before it could take the message."""


class WorkerDiedError(Exception):
  """The worker died while it had the message."""


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
  """One JSON object behind its length in bytes (big-endian, 32 bits)."""
  stream.write(_encoded(message))
  stream.flush()


def _encoded(message: dict[str, Any]) -> bytes:
  data = json.dumps(message).encode()
  return _HEADER.pack(len(data)) + data


def read_message(stream: IO[bytes]) -> dict[str, Any] | None:
  """The next message, waiting for it; None at the end of the stream."""
  header = stream.read(_HEADER.size)
  if len(header) < _HEADER.size:
    return None
  data = stream.read(_HEADER.unpack(header)[0])
  return json.loads(data)


class WorkerProcess:
  """A running worker. Not for use by several threads at once, except `kill`."""

  def __init__(self, judges: Mapping[str, str] | None = None) -> None:
    """Starts a worker; `wait_ready` must follow.

    Args:
      judges: a user's judges to import, domain -> module:function. They are found as in this process: the worker gets
        its `sys.path`.

    Raises:
      StartError: the interpreter cannot be started.
    """
    command = [sys.executable, "-m", "srpo_jax.rewards.worker", str(os.getpid()), str(MEMORY_LIMIT)]
    if judges:
      command.append(json.dumps({"judges": dict(judges), "path": [os.path.abspath(entry) for entry in sys.path]}))
    try:
      self._process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
      )
    except OSError as error:
      raise StartError(f"cannot start {sys.executable}: {error.strerror or error}") from error
    assert self._process.stdin is not None
    os.set_blocking(self._process.stdin.fileno(), False)  # or a message to a stopped worker would wait for ever

  def wait_ready(self, timeout_s: float) -> None:
    """Waits until the libraries are loaded. Raises StartError, with the worker's own words where it has any."""
    try:
      reply = self._receive(timeout_s)
    except TimeoutError:
      raise StartError(f"not ready after {timeout_s:g} s") from None
    except WorkerDiedError as error:
      raise StartError(f"ended before it was ready: {error}") from None
    if "ready" not in reply:
      raise StartError(str(reply.get("error", "unknown answer")), reply.get("fault"))

  @property
  def pid(self) -> int:
    return self._process.pid

  def ask(self, message: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], float]:
    """The worker's reply and the seconds since it took the message.

    Raises NotTakenError where the worker was gone or stopped before that, WorkerDiedError where it died over the
    message, and TimeoutError where it is still at it after `timeout_s`.
    """
    try:
      self._write(_encoded(message), time.monotonic() + timeout_s)
      self._receive(timeout_s)  # it says that it has taken the message
    except (OSError, WorkerDiedError):  # TimeoutError is an OSError
      raise NotTakenError from None
    begin = time.monotonic()
    return self._receive(timeout_s), time.monotonic() - begin

  def _receive(self, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    (length,) = _HEADER.unpack(self._read(_HEADER.size, deadline))
    return json.loads(self._read(length, deadline))

  def _write(self, data: bytes, deadline: float) -> None:
    assert self._process.stdin is not None
    descriptor = self._process.stdin.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    left = memoryview(data)
    while left:
      wait_s = deadline - time.monotonic()
      if wait_s <= 0 or not poll.poll(wait_s * 1000):
        raise TimeoutError
      left = left[os.write(descriptor, left) :]

  def _read(self, size: int, deadline: float) -> bytes:
    assert self._process.stdout is not None
    descriptor = self._process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = b""
    while len(data) < size:
      left = deadline - time.monotonic()
      if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError
      piece = os.read(descriptor, size - len(data))
      if not piece:
        raise WorkerDiedError(_ending(self._process.wait()))
      data += piece
    return data

  def kill(self) -> None:
    """Ends the worker at once; safe from another thread. `close` must still follow."""
    with contextlib.suppress(OSError):
      self._process.kill()

  def close(self) -> None:
    """Kills the worker, waits for its end and closes both pipes."""
    self.kill()
    self._process.wait()
    for stream in (self._process.stdin, self._process.stdout):
      with contextlib.suppress(OSError):  # what was still to be written has no reader
        if stream is not None:
          stream.close()


def _ending(status: int) -> str:
  return f"signal {-status}" if status < 0 else f"exit status {status}"


def _environment() -> dict[str, str]:
  """The caller's environment with this package importable, and nothing importable from the working directory."""
  paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}
