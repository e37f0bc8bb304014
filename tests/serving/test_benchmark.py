"""Runs the benchmark of serving at toy size, and checks its counts but not its times."""

import json
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT


@pytest.mark.slow  # a minute, since four servers start one after the other
def test_serve(checkpoint):
  args = ["--model", checkpoint, "--requests", 5, "--clients", 2, "--prompt-tokens", 9, "--new-tokens", 6]
  command = [sys.executable, "benchmarks/serve.py", *map(str, args)]
  done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  lines = {line["contender"]: line for line in map(json.loads, done.stdout.splitlines())}
  assert len(lines) == 5
  http, grpc, generate, *served = lines.values()
  assert http["tokens"] == generate["tokens"] and 5 <= grpc["tokens"] <= http["tokens"] <= 30
  for line in (http, grpc, generate):
    assert line["tokens_per_s"] > 0 and 0 < line["first_token_s_median"] <= line["first_token_s_p95"]
  assert all("left_out" in line or line["tokens_per_s"] > 0 for line in served)
