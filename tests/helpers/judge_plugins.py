"""Judges for the tests, named as tests.helpers.judge_plugins:NAME."""

import os
import sys
import time
import zlib
from typing import Any

from srpo_jax.types import Judgement, Problem

SECRET = []  # filled by a test in its own process: a worker never sees it


def told(problem: Problem, response: str) -> Judgement:
  """Correct; the reason is all that the judge got, and the process it ran in."""
  found = [problem.id, problem.domain, problem.question, problem.answer, problem.tests, problem.extra, response]
  return Judgement(1, 0.5, f"{os.getpid()} {len(SECRET)} {found!r}")


def obedient(problem: Problem, response: str) -> Any:
  """Does what the row's field `do` says."""
  match problem.extra["do"]:
    case "sleep":
      time.sleep(600)
    case "exit":
      os._exit(7)
    case "leave":
      raise SystemExit(3)
    case "raise":
      raise ValueError("no such\npuzzle")
    case "recurse":
      return obedient(problem, response)
    case "fill memory":
      return bytearray(1 << 32)
    case "print":
      print('{"correct": 1}', flush=True)
      print(sys.stdin.read(), file=sys.stderr)
  return eval(problem.extra.get("value", "Judgement(1)"), {"Judgement": Judgement, "nan": float("nan")})


def parity(problem: Problem, response: str) -> Judgement:
  """Correct by the checksum of the response and the row's extra field: a random model then has mixed groups.

  The row with the number 0 is always solved.
  """
  even = zlib.crc32(f"{response}{problem.extra['number']}".encode()) % 2 == 0
  return Judgement(even or problem.extra["number"] == 0, 0.25, f"number {problem.extra['number']}")


def puzzles() -> list[dict[str, Any]]:
  rows = [{"id": f"z{i}", "domain": "puzzle", "question": f"Solve {i}.", "number": i} for i in range(5)]
  return [row | {"clue": None if row["number"] % 2 else {"of": [row["number"]]}} for row in rows]


def echo(problem: Problem, response: str) -> Judgement:
  """Wrong; the reason is the response. Raises it instead if it begins with `raise`."""
  if response.startswith("raise"):
    raise ValueError(response)
  return Judgement(0, reason=response)
