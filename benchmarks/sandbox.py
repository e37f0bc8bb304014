"""Measures responses per second in the sandbox, and the seconds and memory of a whole scoring batch.

    python benchmarks/sandbox.py [--tier namespaces] [--slots 0] [--batch 8192]

Prints one JSON line for each measurement:

1. Responses a second with trivial programs of one call, of 40 calls, and of 20 inputs for a script.
2. Responses a second with the canonical solutions of HumanEval or, without that file, generated programs of the same
   size.
3. Seconds of a batch of 60 % math and 40 % code responses, judged by the scorer that training uses.
"""

import argparse
import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from srpo_jax.data.sources import ADAPTERS  # noqa: E402
from srpo_jax.rewards.cases import turn  # noqa: E402
from srpo_jax.rewards.scorer import Scorer  # noqa: E402
from srpo_jax.sandbox.client import Sandbox, SandboxOptions  # noqa: E402
from srpo_jax.types import ScoreRequest  # noqa: E402
from srpo_jax.utils.errors import InputError  # noqa: E402

MATH_SHARE = 0.6
WRONG_SHARE = 0.5  # share of code responses that fail, because failing and passing programs take different times
SPIN_SHARE = 0.005  # share of code responses that run into the time limit

Pair = tuple[str, dict[str, Any]]  # (program, tests of its problem)


def main() -> None:
  """Runs and prints the measurements."""
  options = _options()
  sandbox = SandboxOptions(min_tier="unsafe", tier=options.tier, slots=options.slots, timeout_s=options.limit_s)
  problems = humaneval(options.data)
  with sandbox.start() as running:
    about = {"tier": running.tier, "slots": running.slots, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    measures = {"one call": [_calls(1)] * 1000, "40 calls": [_calls(40)] * 1000, "20 inputs": [_script(20)] * 100}
    measures["HumanEval"] = 3 * [turn(tests).job(program) for program, tests in problems]
    for name, jobs in measures.items():
      print(json.dumps({"measure": name, **rate(running, jobs), **about}), flush=True)
  print(json.dumps({"measure": "batch", **batch(options.batch, sandbox, problems), **about}), flush=True)


def _options() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--tier", default="", help="only tier to try (default: the best that works)")
  parser.add_argument("--slots", type=int, default=0, help="parallel children; 0 means one per core")
  parser.add_argument("--limit-s", type=float, default=SandboxOptions().timeout_s, help="processor seconds of one test")
  parser.add_argument("--batch", type=int, default=8192, help="responses in the scoring batch")
  parser.add_argument("--data", type=Path, default=Path(os.environ.get("SRPO_DATA", ROOT / "../shared/data")))
  return parser.parse_args()


def _calls(count: int) -> dict[str, Any]:
  """Returns a job of a trivial function that is called `count` times."""
  calls = [{"expression": f"f({number})"} for number in range(count)]
  return {"mode": "calls", "program": "def f(x):\n  return 2 * x\n", "calls": calls}


def _script(count: int) -> dict[str, Any]:
  """Returns a job of a trivial script that is run with `count` inputs, each in a process of its own."""
  return {"mode": "stdin", "program": "print(2 * int(input()))\n", "inputs": [f"{number}\n" for number in range(count)]}


def humaneval(folder: Path) -> list[Pair]:
  """Returns the canonical solutions whose tests `turn` accepts, or generated programs if the file is absent."""
  file = folder / "humaneval.jsonl"
  if not file.is_file():
    print(f"{file}: no such file, using generated programs of the same size", file=sys.stderr)
    return [_generated(number) for number in range(150)]
  pairs = []
  for line in file.read_text().splitlines():
    row = json.loads(line)
    tests = dict(ADAPTERS["humaneval"](row, "?").tests or {})
    try:
      if turn(tests).script is not None:  # needs several jobs
        continue
    except InputError:
      continue
    pairs.append((row["prompt"] + row["canonical_solution"], tests))
  return pairs


def _generated(number: int) -> Pair:
  body = "".join(f"    total += (x + {i}) % {number + 2}\n" for i in range(8))
  program = f'def f(xs):\n  """{"words " * 60}"""\n  total = 0\n  for x in xs:\n{body}  return total\n'
  space: dict[str, Any] = {}
  exec(program, space)
  inputs = [list(range(n, n + 6)) for n in range(8)]
  return program, {"type": "assert", "cases": [f"assert f({xs}) == {space['f'](xs)}" for xs in inputs]}


def rate(sandbox: Sandbox, jobs: list[dict[str, Any]]) -> dict[str, float]:
  """Returns responses per second and the processor time of each, which depends less on other load on the machine.

  Raises:
    RuntimeError: The sandbox failed on some response.
  """
  gate, failed = threading.Semaphore(0), []

  def done(outcome: Any) -> None:
    if outcome.executions is None:
      failed.append(outcome.reason)
    gate.release()

  cpu = _cpu_s(sandbox.pids())
  begin = time.perf_counter()
  for job in jobs:
    sandbox.submit(job, done)
  for _ in jobs:
    gate.acquire()
  if failed:
    raise RuntimeError(f"{len(failed)} responses failed: {failed[0]}")
  seconds = time.perf_counter() - begin
  cpu_ms = 1000 * (_cpu_s(sandbox.pids()) - cpu) / len(jobs)
  return {"per_s": round(len(jobs) / seconds, 1), "cpu_ms": round(cpu_ms, 2)}


def _cpu_s(pids: list[int]) -> float:
  """Returns the processor seconds of these processes and of their children that have ended."""
  ticks = 0
  for pid in pids:
    ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
  return ticks / os.sysconf("SC_CLK_TCK")


def batch(count: int, options: SandboxOptions, problems: list[Pair]) -> dict[str, Any]:
  """Scores a batch. Returns seconds, counts of verdicts, and peak memory of this process and of its descendants."""
  chance = random.Random(0)
  requests = [_request(number, count, problems, chance) for number in range(count)]
  with Scorer(sandbox=options) as scorer, Memory() as memory:
    scorer.start_sandbox()
    before = memory.own_mb()
    begin = time.perf_counter()
    for request in requests:
      scorer.submit(request)
    submitted = time.perf_counter() - begin
    verdicts = scorer.collect()
    seconds = time.perf_counter() - begin
  counts = {str(key): sum(v.correct == key for v in verdicts.values()) for key in (1, 0, None)}
  return {
    "responses": count,
    "seconds": round(seconds, 1),
    "submitted_s": round(submitted, 1),
    "verdicts": counts,
    "own_memory_grew_mb": round(memory.peak_own - before),
    "processes_mb": round(memory.peak_below),
  }


def _request(number: int, count: int, problems: list[Pair], chance: random.Random) -> ScoreRequest:
  thought = "I think about it step by step. " * 60
  if number % 10 < 10 * MATH_SHARE:
    a, b = chance.randint(2, 99), chance.randint(2, 9)
    stated = chance.choice([str(a * b), rf"\frac{{{a * b}}}{{1}}", str(a + b), rf"{b}\sqrt{{{a}}}"])
    response = rf"{thought}</think><answer>\boxed{{{stated}}}</answer>"
    return ScoreRequest(str(number), "What is it?", response, True, "math", str(a * b))
  program, tests = problems[number // 32 % len(problems)]
  if chance.random() < SPIN_SHARE:
    program += "\nwhile True: pass\n"
  elif chance.random() < WRONG_SHARE:
    program = program.replace("return ", "return not ")
  response = f"{thought}</think><answer>```python\n{program}\n```</answer>"
  return ScoreRequest(str(number), "Write it.", response, True, "code", None, tests)


class Memory:
  """Samples the peak memory in MiB: resident size of this process, and proportional size of all its descendants."""

  def __enter__(self) -> "Memory":
    self.peak_own = self.peak_below = 0.0
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._sample, daemon=True)
    self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._stop.set()
    self._thread.join()

  def own_mb(self) -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

  def _sample(self) -> None:
    while not self._stop.wait(0.5):
      self.peak_own = max(self.peak_own, self.own_mb())
      self.peak_below = max(self.peak_below, sum(map(_share_mb, _below(os.getpid()))))


def _below(root: int) -> list[int]:
  parents: dict[int, int] = {}
  for name in filter(str.isdigit, os.listdir("/proc")):
    try:
      parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
      continue
  found = {root}
  while more := {pid for pid, parent in parents.items() if parent in found} - found:
    found |= more
  return sorted(found - {root})


def _share_mb(pid: int) -> float:
  try:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
      if line.startswith("Pss:"):
        return int(line.split()[1]) / 1024
  except OSError:
    pass
  return 0.0


if __name__ == "__main__":
  main()
