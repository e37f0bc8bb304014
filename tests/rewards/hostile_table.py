"""Measures which lines of the hostile list each tier stops on this host, for root and for an ordinary user.

Prints the Markdown table for the documentation.

    python -m tests.rewards.hostile_table
"""

import json
import os

from tests.helpers.hostile.programs import HOSTILE
from tests.helpers.hostile.rows import USERS, hostile_run, judged_well

TIERS = ("namespaces", "bubblewrap", "landlock", "unsafe")


def main() -> None:
  columns = [(tier, uid) for tier in TIERS for uid in USERS]
  cells = {column: _cells(*column) for column in columns}
  names = [f"{tier}, {'root' if uid == 0 else 'user'}" for tier, uid in columns]
  print(f"| | {' | '.join(names)} |\n|{' --- |' * (len(columns) + 1)}")
  for line in HOSTILE:
    print(f"| {line.name.replace('|', '/')} | {' | '.join(cells[column][line.name] for column in columns)} |")


def _cells(tier: str, uid: int) -> dict[str, str]:
  rows = [json.loads(text) for text in hostile_run(tier, uid).splitlines()]
  by_name = {row["name"]: row for row in rows if "name" in row}
  found = {}
  for line in HOSTILE:
    row = by_name[line.name]
    stopped = judged_well(line, row) and not row["left"] and row["next"] == 1 and row["same"]
    found[line.name] = "stopped" if stopped else "**not stopped**"
  return found


if __name__ == "__main__":
  assert os.getuid() in USERS
  main()
