"""The worker process: judges one message after another until its input ends.

Started as `python -m srpo_jax.rewards.worker PARENT_PID MEMORY_LIMIT` by `process.py`. It sets no limit of time: the
parent kills it. Messages are read from standard input; replies leave through a copy of standard output, so that nothing
a library prints can be taken for one.
"""

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

from srpo_jax.rewards.math import judge_stated
from srpo_jax.rewards.process import read_message, write_message

_PR_SET_PDEATHSIG = 1


def judge(message: Mapping[str, Any]) -> dict[str, Any]:
  """The verdict on one message: {correct: 0 | 1, reason}. An answer that breaks the checker is not correct."""
  try:
    correct, reason = _JUDGES[message["domain"]](message)
  except MemoryError:
    return {"correct": 0, "reason": "out of memory", "spent": True}
  except RecursionError:
    return {"correct": 0, "reason": "nested too deep"}
  except Exception as error:
    return {"correct": 0, "reason": f"the checker failed: {type(error).__name__}"}
  return {"correct": correct, "reason": reason}


def _math(message: Mapping[str, Any]) -> tuple[int, str]:
  return judge_stated(message["stated"], message["gold"])


_JUDGES: dict[str, Callable[[Mapping[str, Any]], tuple[int, str]]] = {"math": _math}


def _confine(parent: int, memory_limit: int) -> None:
  """Limits memory, leaves no core dumps, and ties this process to its parent."""
  resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != parent:  # it died before the line above
    sys.exit(1)


def _own_output() -> IO[bytes]:
  """A private copy of standard output, which itself leads nowhere from here on."""
  replies = os.fdopen(os.dup(1), "wb")
  nowhere = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, 1)
  os.close(nowhere)
  return replies


def main(parent: int, memory_limit: int) -> None:
  """Says that it is ready once the libraries have been used once, then serves."""
  replies = _own_output()
  logging.disable(logging.CRITICAL)
  try:
    _confine(parent, memory_limit)
    if judge_stated(r"2\sqrt{3}", r"\sqrt{12}") != (1, "equal"):
      raise RuntimeError("Math-Verify does not find two equal roots equal")
  except Exception as error:
    write_message(replies, {"error": f"{type(error).__name__}: {error}"})
    return
  write_message(replies, {"ready": True})
  with contextlib.suppress(BrokenPipeError):
    while (message := read_message(sys.stdin.buffer)) is not None:
      write_message(replies, {"taken": True})
      reply = judge(message)
      write_message(replies, reply)
      if "spent" in reply:
        return


if __name__ == "__main__":
  main(int(sys.argv[1]), int(sys.argv[2]))
