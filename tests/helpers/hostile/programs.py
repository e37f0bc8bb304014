"""The hostile list: programs that try to harm the host or to be marked correct without solving the problem.

Each program bounds its own harm. A program that probes a boundary returns everything that it reached. Its test expects
an empty result, so `correct` 1 means that it was contained. A program that tries to cheat has a test that it cannot
honestly pass, so its expected verdict is `correct` 0.
"""

import json

from tests.helpers.hostile.answers import ANSWERS
from tests.helpers.hostile.harms import HARMS

HOSTILE = HARMS + ANSWERS

if __name__ == "__main__":
  print(json.dumps([line.name for line in HOSTILE]))
