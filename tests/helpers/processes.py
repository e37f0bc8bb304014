"""Helpers for processes: their environment, whether one is alive, and waiting for conditions."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def cpu_devices(n: int) -> dict[str, str]:
  """Returns the environment of a process that sees n CPU devices."""
  flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
  return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}


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
