"""Programs that try to be marked correct without doing the work, or to harm the host; each bounded by itself.

A program that probes a boundary returns what it got past: its test expects nothing there, so `correct` 1 means that it
was contained. One that must not be believed has a test that it does not pass: `correct` 0.
"""

import json

from tests.helpers.hostile.answers import ANSWERS
from tests.helpers.hostile.harms import HARMS

HOSTILE = HARMS + ANSWERS

if __name__ == "__main__":
  print(json.dumps([line.name for line in HOSTILE]))
