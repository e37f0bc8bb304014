"""Names of the evaluation sets of a curation, and helpers that write and read its JSON-lines files."""

import json

EVAL_SETS = ("math500", "aime24", "amc23", "mbpp", "humaneval", "livecodebench")


def lines(path, rows):
  path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
  return path


def read_lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]
