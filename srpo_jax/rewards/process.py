"""A worker process that can be killed, started with `Popen` and driven over its own pipes.

The worker is never forked from a process that holds JAX. It is never left behind: it exits when its input ends, and the
kernel kills it when the thread that started it dies. Sending a message of over 64 KiB waits for the worker to read it,
within the time limit.
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
  """A worker could not be started.

  Attributes:
    fault: the error if a user's judge cannot be imported, else None. Another attempt would fail with it too.
  """

  def __init__(self, message: str, fault: str | None = None):
    super().__init__(message)
    self.fault = fault


class NotTakenError(Exception):
  """The worker exited or was stopped before it took the message."""


class WorkerDiedError(Exception):
  """The worker died while it had the message."""


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
  """Writes the length of the message in bytes (big-endian, 32 bits), then the message as a JSON object."""
  stream.write(_encoded(message))
  stream.flush()


def _encoded(message: dict[str, Any]) -> bytes:
  data = json.dumps(message).encode()
  return _HEADER.pack(len(data)) + data


def read_message(stream: IO[bytes]) -> dict[str, Any] | None:
  """Waits for the next message and returns it, or None at the end of the stream."""
  header = stream.read(_HEADER.size)
  if len(header) < _HEADER.size:
    return None
  data = stream.read(_HEADER.unpack(header)[0])
  return json.loads(data)


class WorkerProcess:
  """A running worker. Only `kill` may be called while another thread uses the worker."""

  def __init__(self, judges: Mapping[str, str] | None = None) -> None:
    """Starts a worker. Call `wait_ready` next.

    Args:
      judges: a user's judges to import, domain -> module:function. The worker gets the `sys.path` of this process, so
        that it finds the same modules.

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
    os.set_blocking(self._process.stdin.fileno(), False)  # a blocking write to a stopped worker would never return

  def wait_ready(self, timeout_s: float) -> None:
    """Waits until the worker has loaded its libraries.

    Raises:
      StartError: the worker failed or was not ready after `timeout_s`. The message is the worker's own if it sent one.
    """
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
    """Sends a message. Returns the worker's reply and the seconds since the worker took the message.

    Raises:
      NotTakenError: the worker exited or was stopped before it took the message.
      WorkerDiedError: the worker died while it handled the message.
      TimeoutError: the worker took the message but did not reply within `timeout_s`.
    """
    try:
      self._write(_encoded(message), time.monotonic() + timeout_s)
      self._receive(timeout_s)  # the worker confirms that it took the message
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
    """Kills the worker at once. Safe to call from another thread. Call `close` afterwards."""
    with contextlib.suppress(OSError):
      self._process.kill()

  def close(self) -> None:
    """Kills the worker, waits for it to exit and closes both pipes."""
    self.kill()
    self._process.wait()
    for stream in (self._process.stdin, self._process.stdout):
      with contextlib.suppress(OSError):  # data that was still buffered has no reader
        if stream is not None:
          stream.close()


def _ending(status: int) -> str:
  return f"signal {-status}" if status < 0 else f"exit status {status}"


def _environment() -> dict[str, str]:
  """Returns this process's environment, changed so that the worker finds this package.

  The worker starts without the working directory on its import path.
  """
  paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}
