"""Processes of this machine, and waiting for what they do."""

import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
  """Returns whether a process exists and is no zombie."""
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except OSError:
    return False


def wait_until(condition: Callable[[], object], timeout_s: float = 50.0) -> None:
  """Waits for a condition to hold; fails the test after `timeout_s` seconds."""
  end = time.monotonic() + timeout_s
  while not condition():
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.01)
