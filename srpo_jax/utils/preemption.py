"""Signals that end a run in an orderly way: SIGTERM, which announces preemption of the machine, and Ctrl-C."""

import signal
from types import FrameType

from srpo_jax.utils import processes
from srpo_jax.utils.errors import PreemptedError

# Exit statuses. SIGTERM is an orderly end at a supervisor's request. Ctrl-C must also end the loop of a Makefile.
STATUSES = {signal.SIGTERM: 0, signal.SIGINT: 130}
NAMES = {signal.SIGTERM: "preempted", signal.SIGINT: "interrupted"}


class PreemptionSignal:
  """Records that this process was told to end. Use as a context manager.

  Until `defer` is called, the signal ends the process at once, because there is nothing to save. After that, it ends
  the process only in `check` and `raise_if_told`, at points from which a run can resume.
  """

  def __init__(self) -> None:
    self._told: signal.Signals | None = None
    self._deferred = False

  def __enter__(self) -> "PreemptionSignal":
    self._before = {number: signal.getsignal(number) for number in STATUSES}
    self.listen()
    return self

  def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
    after = dict(self._before)
    if isinstance(error, PreemptedError):
      # A second signal must not interrupt the orderly end. SIG_IGN, because Python removes its own handlers at exit.
      after[signal.SIGTERM] = signal.SIG_IGN
    for number, handler in after.items():
      signal.signal(number, handler or signal.SIG_DFL)

  def listen(self) -> None:
    """Installs the handlers. Call it again if a library has replaced them. Only the main thread may call it."""
    for number in STATUSES:
      signal.signal(number, self._tell)

  def defer(self) -> None:
    """Defers the end to `check` and `raise_if_told`. Call it once there is something to save."""
    self._deferred = True

  def raise_if_told(self) -> None:
    """Raises PreemptedError if this process was told to end. Other processes learn of it through `agreed`."""
    if self._told is not None:
      raise self._error()

  def check(self) -> None:
    """Raises PreemptedError on all processes if any of them was told to end. All must call it."""
    if processes.any_of(self._told is not None):
      raise self._error()

  def _tell(self, number: int, frame: FrameType | None) -> None:
    again, self._told = self._told is not None, signal.Signals(number)
    if self._told == signal.SIGINT and again:
      raise KeyboardInterrupt  # pressed twice: the user does not want to wait
    if not self._deferred and not again:
      raise self._error()

  def _error(self) -> PreemptedError:
    told = self._told or signal.SIGTERM
    return PreemptedError(f"{NAMES[told]}: nothing to save", STATUSES[told])
