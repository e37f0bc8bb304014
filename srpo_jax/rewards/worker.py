"""The worker process, which judges one message after another until its input ends.

`process.py` starts it as `python -m srpo_jax.rewards.worker PARENT_PID MEMORY_LIMIT [JUDGES]`. JUDGES is a JSON object
with a user's judges and the `sys.path` on which to find them. The worker sets no time limit. Its parent kills it when a
message takes too long. The worker reads messages from a copy of standard input and writes replies to a copy of standard
output, so no library can read a message or print into a reply.
"""

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

from srpo_jax.rewards.answers.form import Form
from srpo_jax.rewards.math import judge_stated
from srpo_jax.rewards.process import read_message, write_message
from srpo_jax.rewards.user_judge import LoadedJudge
from srpo_jax.utils.errors import InputError

_PR_SET_PDEATHSIG = 1


def judge(message: Mapping[str, Any]) -> dict[str, Any]:
  """Judges one message.

  An answer that crashes the checker is wrong.

  Returns:
    The fields of a `pool.Reply` without the time. `fault` holds an error of a user's judge. If `spent` is set, the
    worker must exit after the reply.
  """
  try:
    if message["domain"] in _USER_JUDGES:
      return _USER_JUDGES[message["domain"]](message)
    correct, reason = _JUDGES[message["domain"]](message)
  except MemoryError:
    return {"correct": 0, "reason": "out of memory", "spent": True}
  except RecursionError:
    return {"correct": 0, "reason": "nested too deep"}
  except Exception as error:
    return {"correct": 0, "reason": f"the checker failed: {type(error).__name__}"}
  return {"correct": correct, "reason": reason}


def _math(message: Mapping[str, Any]) -> tuple[int, str]:
  return judge_stated(message["stated"], message["gold"], Form(message["form"]))


_JUDGES: dict[str, Callable[[Mapping[str, Any]], tuple[int, str]]] = {"math": _math}
_USER_JUDGES: dict[str, LoadedJudge] = {}


def _confine(parent: int, memory_limit: int) -> None:
  """Limits memory, disables core dumps and makes this process die with its parent."""
  resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != parent:  # the parent died before the call above
    sys.exit(1)


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
  """Returns private copies of standard input and output, and redirects the originals to the null device."""
  messages, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
  nowhere = os.open(os.devnull, os.O_RDWR)
  os.dup2(nowhere, 0)
  os.dup2(nowhere, 1)
  os.close(nowhere)
  return messages, replies


def _load(judges: Mapping[str, str], path: list[str]) -> None:
  """Imports a user's judges. Raises InputError that names the judge if one cannot be imported."""
  sys.path[:] = path  # set only now, so that no file of the user's can shadow a library that this module needs
  for domain, spec in judges.items():
    _USER_JUDGES[domain] = LoadedJudge(domain, spec)


def main(parent: int, memory_limit: int, judges: str = "") -> None:
  """Uses the libraries once, reports that the worker is ready, then judges messages."""
  messages, replies = _own_streams()
  logging.disable(logging.CRITICAL)
  try:
    _confine(parent, memory_limit)
    if judge_stated(r"2\sqrt{3}", r"\sqrt{12}") != (1, "equal"):
      raise RuntimeError("the math judge does not find two equal roots equal")
    if judges:
      _load(**json.loads(judges))
  except InputError as error:
    write_message(replies, {"error": str(error), "fault": str(error)})
    return
  except Exception as error:
    write_message(replies, {"error": f"{type(error).__name__}: {error}"})
    return
  write_message(replies, {"ready": True})
  with contextlib.suppress(BrokenPipeError):
    while (message := read_message(messages)) is not None:
      write_message(replies, {"taken": True})
      reply = judge(message)
      spent = reply.pop("spent", False)
      write_message(replies, reply)
      if spent:
        return


if __name__ == "__main__":
  main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
