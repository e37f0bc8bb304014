"""The notice that this machine is wanted back: SIGTERM, or Ctrl-C."""

import signal
from types import FrameType

from srpo_jax.utils import processes
from srpo_jax.utils.errors import PreemptedError

# What a supervisor sees: an orderly end of its own making, and a user's that must also end the loop of a Makefile.
STATUSES = {signal.SIGTERM: 0, signal.SIGINT: 130}
NAMES = {signal.SIGTERM: "preempted", signal.SIGINT: "interrupted"}


class Notice:
  """Whether this process was told to end.

  Until `defer` it ends where it is: there is nothing to save. From then on only `check` and `raise_if_told` end it, at
  points from which a run can go on.
  """

  def __init__(self) -> None:
    self._told: signal.Signals | None = None
    self._deferred = False

  def __enter__(self) -> "Notice":
    self._before = {number: signal.getsignal(number) for number in STATUSES}
    self.listen()
    return self

  def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
    after = dict(self._before)
    if isinstance(error, PreemptedError):
      # It ends in order: told once more on its way out it must not end by the signal. Ignored, as Python's end takes
      # every handler of its own away.
      after[signal.SIGTERM] = signal.SIG_IGN
    for number, handler in after.items():
      signal.signal(number, handler or signal.SIG_DFL)

  def listen(self) -> None:
    """Takes the signals over, again where a library has taken them meanwhile. In the main thread only."""
    for number in STATUSES:
      signal.signal(number, self._tell)

  def defer(self) -> None:
    """From here on there is something to save."""
    self._deferred = True

  def raise_if_told(self) -> None:
    """Raises PreemptedError where this process was told to end; the others of a group learn of it by `agreed`."""
    if self._told is not None:
      raise self._error()

  def check(self) -> None:
    """Raises PreemptedError on all processes of the group where any of them was told to end. All must call it."""
    if processes.any_of(self._told is not None):
      raise self._error()

  def _tell(self, number: int, frame: FrameType | None) -> None:
    again, self._told = self._told is not None, signal.Signals(number)
    if self._told == signal.SIGINT and again:
      raise KeyboardInterrupt  # who presses it twice means it
    if not self._deferred and not again:
      raise self._error()

  def _error(self) -> PreemptedError:
    told = self._told or signal.SIGTERM
    return PreemptedError(f"{NAMES[told]}: nothing to save", STATUSES[told])
