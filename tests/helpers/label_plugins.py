"""Rewards and rows for the labelling tests. Configs name them as tests.helpers.label_plugins:NAME."""

import dataclasses
import json
import os
import signal
import zlib
from pathlib import Path

from srpo_jax.types import Problem, ScoreRequest, Verdict

_judged = 0


def logged(request: ScoreRequest, verdict: Verdict) -> Verdict:
  """Judges a response by its checksum and leaves one in eight not judged.

  Appends each verdict to the file named in SRPO_TEST_LOG. Kills the process at the verdict whose number is in
  SRPO_TEST_KILL_AT.
  """
  global _judged
  _judged += 1
  checksum = zlib.crc32(request.response.encode())
  correct = None if checksum % 8 == 7 else int(request.ended and checksum % 3 == 0)
  with Path(os.environ["SRPO_TEST_LOG"]).open("a") as log:
    log.write(json.dumps([request.id, request.prompt, request.response, request.ended, correct]) + "\n")
  if _judged == int(os.environ.get("SRPO_TEST_KILL_AT", 0)):
    os.kill(os.getpid(), signal.SIGKILL)
  return dataclasses.replace(verdict, correct=correct, reward=float("nan") if correct is None else float(correct))


def never_judged(request: ScoreRequest, verdict: Verdict) -> Verdict:
  return dataclasses.replace(verdict, correct=None, reward=float("nan"))


def rows() -> list[Problem]:
  return [Problem(f"q{i}", "math", f"What is {i} + {i}?", str(2 * i), difficulty=f"Level {i}") for i in range(9)]


def odd_rows() -> list[dict]:
  return [{"domain": "math", "question": "?", "answer": "1", "odd": {1, 2}}]
