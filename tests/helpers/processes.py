"""Helpers that check whether a process is alive and wait for conditions."""

import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
  """Returns True if a process exists and is not a zombie."""
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except OSError:
    return False


def wait_until(condition: Callable[[], object], timeout_s: float = 50.0) -> None:
  """Waits for a condition to hold. Fails the test after `timeout_s` seconds."""
  end = time.monotonic() + timeout_s
  while not condition():
    assert time.monotonic() < end, "the condition did not hold in time"
    time.sleep(0.01)
