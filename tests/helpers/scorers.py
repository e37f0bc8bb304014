"""Requests to a math scorer, and a measure of the activity of its workers."""

import dataclasses
import math
import os
import time
from pathlib import Path

from srpo_jax.rewards.scorer import Scorer
from srpo_jax.types import ScoreRequest

# These are equal and within every bound of the guard, but the logarithms need many thousands of digits.
SLOW_GOLD = "+".join(rf"\ln(2^{{5900}}+{n})" for n in range(1, 13))
SLOW_ANSWER = "+".join(rf"\ln(2^{{5900}}+{n})" for n in range(12, 0, -1))


def request(id: str, stated: str = r"\sqrt{3}+2", gold: str = r"2+\sqrt{3}", **fields: object) -> ScoreRequest:
  """Returns a request with a well-formed response. Judging the default response needs a worker."""
  text = rf"I add.</think><answer>\boxed{{{stated}}}</answer>"
  return dataclasses.replace(ScoreRequest(id, "Add.", text, True, "math", gold), **fields)  # type: ignore[arg-type]


def computing(scorer: Scorer) -> bool:
  """Returns True if some worker is starting or judging, which means that it uses processor time now."""
  before = {pid: cpu(pid) for pid in scorer.worker_pids()}
  time.sleep(0.3)
  return any(cpu(pid) - before.get(pid, math.inf) >= 0.02 for pid in scorer.worker_pids())


def cpu(pid: int) -> float:
  try:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  except OSError:  # the process has ended
    return 0.0
  return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
