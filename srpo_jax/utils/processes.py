"""Processes that train together: plain multi-host JAX, with one process per host, each with its own devices.

Every process runs the same program on the same numbers, so all of them dispatch the same device programs in the same
order. This module exchanges host values that only one process knows (a verdict, a bad file, a signal to end) over the
devices. A single process exchanges nothing.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from srpo_jax.utils.errors import InputError, PreemptedError, SharedError, TrainingError, report

T = TypeVar("T")

# A process that cannot be reached for this long counts as dead, and the others end. They must do so within a minute.
HEARTBEAT_TIMEOUT_S = 35
START_TIMEOUT_S = 300
SHUTDOWN_TIMEOUT_S = 30
VARIABLES = {
  "coordinator": "JAX_COORDINATOR_ADDRESS",
  "num_processes": "JAX_NUM_PROCESSES",
  "process_id": "JAX_PROCESS_ID",
}


def count() -> int:
  """Returns the number of processes."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def index() -> int:
  """Returns this process's number, from 0."""
  return jax.process_index() if jax.distributed.is_initialized() else 0


def is_writer() -> bool:
  """Returns True on the process that writes the run's files."""
  return index() == 0


def all_gather(value: T) -> list[T]:
  """Returns the values of all processes, in the order of their numbers. Every process must call it."""
  if count() == 1:
    return [value]
  data = np.frombuffer(pickle.dumps((index(), value)), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(data)))
  # Each new length compiles a new program, so lengths are powers of two.
  padded = np.zeros(max(1024, 1 << int(sizes.max() - 1).bit_length()), np.uint8)
  padded[: len(data)] = data
  rows = multihost_utils.process_allgather(padded)
  found = dict(pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True))
  return [found[process] for process in range(count())]


def any_of(flag: bool) -> bool:
  """Returns True if `flag` is true on any process. Every process must call it. It costs one small collective."""
  return flag if count() == 1 else bool(multihost_utils.process_allgather(np.int32(flag)).any())


def agreed(action: Callable[[], T]) -> T:
  """Returns the result of `action` once it has succeeded on every process. If it fails on one, all of them raise.

  Raises:
    SharedError: `action` raised InputError on a process. The message names the process.
    PreemptedError: a process was told to end during `action`.
  """
  if count() == 1:
    return action()
  failure: BaseException | None = None
  try:
    result = action()
  except (InputError, PreemptedError) as error:
    failure = error
  except OSError as error:
    if error.filename is None:
      raise
    failure = InputError(f"{error.filename}: {error.strerror}")
  found = all_gather(failure if failure is None or isinstance(failure, PreemptedError) else str(failure))
  for told in found:
    if isinstance(told, PreemptedError):
      raise told
  for process, message in enumerate(found):
    if message is not None:
      raise SharedError(f"process {process}: {message}") from failure
  return result


def writer_first(action: Callable[[], T]) -> T:
  """Returns the result of `action` on each process. The writer finishes it before the others start."""
  made = agreed(lambda: action() if is_writer() else None)
  return agreed(lambda: made if made is not None else action())


def from_writer(action: Callable[[], T]) -> T:
  """Returns the writer's result of `action` on every process. Only the writer runs it."""
  return all_gather(agreed(lambda: action() if is_writer() else None))[0]  # type: ignore[return-value]


def check_same(facts: Mapping[str, str]) -> None:
  """Raises SharedError if a fact differs between processes. The message names the first such fact."""
  first, *others = all_gather(dict(facts))
  for process, other in enumerate(others, 1):
    for name in {**first, **other}:
      if first.get(name) != other.get(name):
        raise SharedError(
          f"{name}: {first.get(name)} on process 0, {other.get(name)} on process {process}, expected the same on all"
        )


@contextlib.contextmanager
def joined(
  coordinator: str | None = None, num_processes: str | None = None, process_id: str | None = None
) -> Iterator[None]:
  """Joins this process to the others while an entry point runs. Call it before any other use of JAX's devices.

  On a TPU pod, Slurm or Open MPI, JAX finds the other processes by itself. Elsewhere the three arguments name them, or
  the environment variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. Without any of these, there
  is only one process.

  A process that fails prints the reason and exits at once. The others end within a minute, and each prints a reason.

  Args:
    coordinator: HOST:PORT of process 0, where it listens.
    num_processes, process_id: whole numbers, as text.

  Raises:
    InputError: the arguments are inconsistent, or the other processes do not answer.
  """
  _start({"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id})
  if count() == 1:
    yield
    return
  with _sentinel.watching(
    f"error: process {index()} of {count()} was ended: it or another process died or cannot be reached; start "
    "all of them again, and the run resumes from its last checkpoint"
  ):
    try:
      with leaving_at_failure():
        yield
        all_gather(None)  # wait for the writer, which may still be busy
    finally:
      jax.distributed.shutdown()


@contextlib.contextmanager
def leaving_at_failure() -> Iterator[None]:
  """Exits at once if only this process fails. An orderly end would deadlock, because the others wait for this process.

  Errors that all processes raise are passed on.
  """
  try:
    yield
  except (SharedError, TrainingError, PreemptedError):
    raise
  except BaseException as error:
    if count() == 1:
      raise
    status = report(error)
    if status is None:
      traceback.print_exception(error)
      first_line = str(error).strip().partition("\n")[0]
      print(
        f"error: process {index()} of {count()} ends: {type(error).__name__}: {first_line} (if another one died, its "
        "own log says why); the others end too; start all of them again, and the run resumes from its last checkpoint",
        file=sys.stderr,
      )
      status = 1
    _sentinel.dismiss()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Sentinel:
  """Prints a message if JAX's runtime aborts this process because another process has died.

  An aborted process can no longer print. So a shell process waits for this process to end and prints the message.
  """

  _shell: subprocess.Popen[bytes] | None = None

  @contextlib.contextmanager
  def watching(self, message: str) -> Iterator[None]:
    script = 'trap "" TERM INT HUP; read -r end || printf "%s\n" "$0" >&2'
    self._shell = subprocess.Popen(["sh", "-c", script, message], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
      yield
    finally:
      self.dismiss()

  def dismiss(self) -> None:
    """Ends the shell without a message, once the reason has been printed."""
    if self._shell is not None:
      self._shell.communicate(b"\n")
      self._shell = None


_sentinel = _Sentinel()


def _start(given: Mapping[str, str | None]) -> None:
  values = {name: text or os.environ.get(VARIABLES[name]) for name, text in given.items()}
  known = {name: text for name, text in values.items() if text}
  detected = _in_cluster()
  if not known and not detected:
    return
  if not detected and len(known) < len(values):
    missing = next(name for name in values if name not in known)
    raise InputError(f"--{missing}: missing, expected --coordinator, --num_processes and --process_id together")
  numbers = {name: _number(name, known[name]) for name in ("num_processes", "process_id") if name in known}
  address = known.get("coordinator")
  if address is not None and not address.rpartition(":")[2].isdigit():
    raise InputError(f"--coordinator: expected HOST:PORT, got {address!r}")
  if len(numbers) == 2 and not 0 <= numbers["process_id"] < numbers["num_processes"]:
    raise InputError(
      f"--process_id: expected 0 to {numbers['num_processes'] - 1}, of --num_processes, got {numbers['process_id']}"
    )
  if numbers.get("num_processes") == 1:
    return
  where = address or "the address that the cluster gives"
  silent = (
    f"error: no processes joined at {where} within {START_TIMEOUT_S} s: expected all of them to be started, with "
    "process 0 there"
  )
  with _sentinel.watching(silent):
    try:
      jax.distributed.initialize(
        address,
        numbers.get("num_processes"),
        numbers.get("process_id"),
        cluster_detection_method=None if detected else "deactivate",
        initialization_timeout=START_TIMEOUT_S,
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
        shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
      )
    except (RuntimeError, ValueError, OSError) as error:
      raise InputError(f"no processes joined at {where}: {error}") from error


def _number(name: str, text: str) -> int:
  if not text.isdigit():
    raise InputError(f"--{name}: expected a whole number, got {text!r}")
  return int(text)


def _in_cluster() -> bool:
  """Returns True if JAX can find the other processes by itself. If it cannot, trying would wait for the network."""
  if any(os.environ.get(name, "1") not in ("0", "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")):
    return True
  if "tpu" not in (os.environ.get("JAX_PLATFORMS") or "tpu"):
    return False
  from jax._src import hardware_utils  # JAX's own test, because no public function tells if there are TPU chips

  return hardware_utils.num_available_tpu_chips_and_device_id()[0] > 0
