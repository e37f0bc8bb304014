"""Measures rows per second and memory of writing and reading a records folder. Prints one JSON object.

    python benchmarks/records.py [--rows 1000000]

The rows are synthetic math rows of about 270 bytes. One process writes them and another reads them. Memory is the peak
resident size of each process. The `idle` fields give the peak right after the imports.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from srpo_jax.data.records import Records  # noqa: E402
from srpo_jax.data.records_writer import write_records  # noqa: E402

RANDOM_READS = 2000


def main() -> None:
  """Writes, reads and prints the measurements."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--rows", type=int, default=1_000_000)
  parser.add_argument("--read", type=Path, help="records folder to read; used by the second process")
  options = parser.parse_args()
  if options.read:
    print(json.dumps(read(options.read)))
    return
  with tempfile.TemporaryDirectory() as folder:
    target = Path(folder) / "set"
    written = write(target, options.rows)
    command = [sys.executable, __file__, "--read", str(target)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
  print(json.dumps(written | found))


def write(folder: Path, n: int) -> dict[str, Any]:
  idle = peak_mb()
  started = time.perf_counter()
  write_records(folder, rows(n), name="synthetic", version="1.0.0", description="a benchmark")
  seconds = time.perf_counter() - started
  size = sum(file.stat().st_size for file in folder.iterdir())
  return {"rows": n, "write_rows_per_s": n / seconds, "bytes": size, "write_idle_mb": idle, "write_mb": peak_mb()}


def read(folder: Path) -> dict[str, Any]:
  idle = peak_mb()
  started = time.perf_counter()
  records = Records(folder)
  opened = time.perf_counter()
  count = sum(1 for _ in records)
  passed = time.perf_counter()
  for index in random.Random(0).choices(range(len(records)), k=RANDOM_READS):
    _ = records[index]
  done = time.perf_counter()
  return {
    "open_s": opened - started,
    "read_rows": count,
    "read_rows_per_s": count / (passed - opened),
    "random_rows_per_s": RANDOM_READS / (done - passed),
    "read_idle_mb": idle,
    "read_mb": peak_mb(),
  }


def rows(n: int) -> Iterator[dict[str, Any]]:
  for i in range(n):
    yield {
      "id": f"synthetic-{i}",
      "domain": "math",
      "question": f"What is {i} plus {7 * i}? " * 8,
      "answer": str(8 * i),
      "difficulty": "hard",
      "pass_rate": i % 5 / 16,
      "source": "synthetic",
    }


def peak_mb() -> int:
  """Returns the peak resident memory of this program in MiB.

  getrusage would not do, because its value survives exec and may come from the parent.
  """
  (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
  return int(line.split()[1]) >> 10


if __name__ == "__main__":
  main()
