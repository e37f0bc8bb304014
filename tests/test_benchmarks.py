"""The benchmarks run at toy size; what they claim of tokens is checked, never their times."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def run(script, *args):
  done = subprocess.run(
    [sys.executable, f"benchmarks/{script}.py", *map(str, args)], cwd=ROOT, check=True, capture_output=True, text=True
  )
  return json.loads(done.stdout)


def test_step(checkpoint, tmp_path):
  prompts = tmp_path / "p.jsonl"
  prompts.write_text("".join(json.dumps({"prompt": "x" * n}) + "\n" for n in (5, 90, 9, 3)))
  args = ["--num-prompts", 2, "--group", 3, "--new-tokens", 7, "--steps", 2, "--max-prompt-tokens", 50]
  got = run("step", "--model", checkpoint, "--prompts", prompts, *args)
  assert got["generated_tokens"] == 2 * 3 * 7
  assert got["trained_tokens"] == 3 * (5 + 9) + 2 * 3 * 7
  assert got["grad_norm"] > 0 and got["logprob_gap_max"] < 1e-3
  assert 0 < got["gen_s"] < got["step_s"] and 0 < got["update_s"] < got["step_s"]


def test_longtail(checkpoint):
  args = ["--responses", 20, "--slots", 4, "--short", 4, "--chunk", 2, "--turns", 1]
  got = run("longtail", "--model", checkpoint, *args)
  assert got["ratio"] > 0


def test_packing(checkpoint):
  got = run("packing", "--model", checkpoint, "--responses", 24, "--mean", 8, "--limit", 32, "--rows", 2, "--steps", 1)
  packed, padded, to_limit = got["packed"], got["padded"], got["padded_to_limit"]
  assert abs(packed["loss"] - padded["loss"]) < 1e-4 and abs(to_limit["loss"] - padded["loss"]) < 1e-4
  assert packed["programs"] == to_limit["programs"] == 1
  assert 0 <= packed["padding"] < to_limit["padding"]


@pytest.mark.slow
def test_checkpoints(tmp_path):
  """1.2 GB in and out (2 to 4 minutes): memory within the bounds, half of the bytes to each of two hosts."""
  shape = ["--hidden", 1024, "--intermediate", 4096, "--layers", 20, "--shard-gb", 0.5]
  got = run("checkpoints", "--out", tmp_path, *shape)
  for name in ("one device", "eight devices", "two hosts of four"):
    found = got[f"import, {name}"]
    assert found["peak_mb"] <= found["bound_mb"], name
  one, two = got["import, one device"], got["import, two hosts of four"]
  assert one["asked_mb"] == got["export"]["model_mb"]
  assert two["asked_mb"] <= 0.52 * one["asked_mb"] and two["local_mb"] <= 0.52 * one["local_mb"]
  out = got["export"]
  assert out["same_files"] == out["files"] and out["model_mb"] > 1100
  assert out["before_mb"] + out["peak_mb"] < 0.6 * out["model_mb"]
