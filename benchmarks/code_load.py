"""Judges honest programs again and again beside busy processes, and counts the verdicts that change.

    python benchmarks/code_load.py [--load 12] [--runs 10]

The programs are the references of HumanEval and MBPP, the scripts of tests/data/cases/scripts.txt, and programs that
compute, sleep or use threads for up to half of their time limit. The first run is made without busy processes. Prints a
JSON line for each run, and exits with 1 if a verdict has changed.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from srpo_jax.data.sources import ADAPTERS  # noqa: E402
from srpo_jax.rewards.code import runnable  # noqa: E402
from srpo_jax.rewards.scorer import Scorer  # noqa: E402
from srpo_jax.sandbox.client import SandboxOptions  # noqa: E402
from srpo_jax.types import ScoreRequest  # noqa: E402
from tests.helpers.scripts import Script, scripts  # noqa: E402

COMPUTE = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(input())"
SLEEP = "import time\ntime.sleep({})\nprint(input())"
THREADS = """import threading
counts = []
threads = [threading.Thread(target=lambda: counts.append(sum(range({}00_000)))) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(counts), input())"""


def main() -> int:
  options = _options()
  requests = [*references(options.data), *own_programs()]
  expected: dict[str, float | None] = {}
  changed = 0
  with Scorer(sandbox=SandboxOptions()) as scorer:
    scorer.start_sandbox()
    for run in range(options.runs + 1):
      begin = time.perf_counter()
      with busy(options.load if run else 0):
        found = judged(scorer, requests)
        load = os.getloadavg()[0]
      expected = expected or found
      differing = sorted(id for id, verdict in found.items() if verdict != expected[id])
      changed += len(differing)
      right = sum(verdict == 1 for verdict in found.values())
      about = {"run": run, "programs": len(found), "right": right, "load": load, "changed": differing}
      print(json.dumps({**about, "seconds": round(time.perf_counter() - begin, 1)}), flush=True)
  return 1 if changed else 0


def _options() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--load", type=int, default=12, help="busy processes")
  parser.add_argument("--runs", type=int, default=10, help="runs beside them")
  parser.add_argument("--data", type=Path, default=Path(os.environ.get("SRPO_DATA", ROOT / "../shared/data")))
  return parser.parse_args()


def references(folder: Path) -> Iterator[ScoreRequest]:
  """Yields a request for each reference program whose tests can be run."""
  for name in ("humaneval", "mbpp"):
    for line in (folder / f"{name}.jsonl").read_text().splitlines():
      row = json.loads(line)
      program = row["code"] if name == "mbpp" else row["prompt"] + row["canonical_solution"]
      for problem in runnable([ADAPTERS[name](row, "?")])[0]:
        yield ScoreRequest(problem.id, "?", _answer(program), True, "code", None, problem.tests)


def own_programs() -> Iterator[ScoreRequest]:
  """Yields a request for each script and for each program that takes time. What Python prints is the right output."""
  limit_s = SandboxOptions().timeout_s
  timed = {f"compute {n}": COMPUTE.format(limit_s * n / 40) for n in range(1, 21)}
  timed |= {f"sleep {n}": SLEEP.format(limit_s * n / 40) for n in range(1, 21)}
  timed |= {f"threads {n}": THREADS.format(n) for n in range(1, 21)}
  for one in [*scripts(), *(Script(name, program) for name, program in timed.items())]:
    command = [sys.executable, "-I", "-c", one.program]
    done = subprocess.run(command, input=one.given, capture_output=True, errors="replace", timeout=60)
    if done.returncode == 0 and done.stdout.strip():
      tests = {"type": "stdin", "cases": [{"input": one.given, "output": done.stdout}]}
      yield ScoreRequest(one.name, "?", _answer(one.program), True, "code", None, tests)


def _answer(program: str) -> str:
  return f"I write.</think><answer>```python\n{program}\n```</answer>"


def judged(scorer: Scorer, requests: list[ScoreRequest]) -> dict[str, float | None]:
  """Returns the verdict of each request."""
  for request in requests:
    scorer.submit(request)
  return {id: verdict.correct for id, verdict in scorer.collect().items()}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
  """Keeps `count` processes busy."""
  processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
  try:
    yield
  finally:
    for process in processes:
      process.kill()
      process.wait()


if __name__ == "__main__":
  sys.exit(main())
