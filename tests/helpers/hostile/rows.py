"""Runs the hostile list on one tier as one user and returns a row of results for each line."""

import os
import subprocess
import sys
from typing import Any

from tests.helpers.hostile.lines import Hostile
from tests.helpers.paths import ROOT

ORDINARY = 61_999
USERS = (0, ORDINARY) if os.getuid() == 0 else (os.getuid(),)


def hostile_run(tier: str, uid: int, *names: str) -> str:
  """Runs the list, or only the named lines, and returns a JSON header line and one JSON line per program."""
  command = [sys.executable, "-m", "tests.helpers.hostile.run", tier, str(uid), *names]
  environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False)
  assert done.returncode == 0, done.stderr[-2000:]
  return done.stdout


def judged_well(line: Hostile, row: dict[str, Any]) -> bool:
  """Returns True if a row has the verdict and the reason that its line expects."""
  return row["correct"] == line.correct and line.reason in row["reason"]
