"""The benchmarks run at toy size. Their token counts are checked, but never their times."""

import importlib
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from srpo_jax.model import transformer
from srpo_jax.planning.flops import count_flops
from tests.helpers.paths import ROOT


def run(script, *args):
  done = subprocess.run(
    [sys.executable, f"benchmarks/{script}.py", *map(str, args)], cwd=ROOT, check=True, capture_output=True, text=True
  )
  return json.loads(done.stdout)


@pytest.mark.slow
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


@pytest.mark.slow
def test_packing(checkpoint):
  got = run("packing", "--model", checkpoint, "--responses", 24, "--mean", 8, "--limit", 32, "--rows", 2, "--steps", 1)
  packed, padded, to_limit = got["packed"], got["padded"], got["padded_to_limit"]
  assert abs(packed["loss"] - padded["loss"]) < 1e-4 and abs(to_limit["loss"] - padded["loss"]) < 1e-4
  assert packed["programs"] == to_limit["programs"] == 1
  assert 0 <= packed["padding"] < to_limit["padding"]


def run_lines(script, *args):
  command = [sys.executable, f"benchmarks/{script}.py", *map(str, args)]
  done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_shared_prompts(checkpoint):
  (got,) = run_lines("shared_prompts", "--model", checkpoint, "--case", "2,30,4,6", "--micro-batch", 4, "--turns", 1)
  assert got["repeated_tokens"] == 2 * 4 * 48 and got["shared_tokens"] == 2 * (32 + 4 * 8) and got["times_faster"] > 0


@pytest.mark.slow
def test_decode_cache(checkpoint):
  lines = run_lines(
    "decode_cache", "--model", checkpoint, "--case", "20,20,40,300", "--slots", 2, "--chunk", 4, "--turns", 1
  )
  assert [line["allocated"] for line in lines] == [20, 40, 300]
  assert len({line["digest"] for line in lines}) == 1  # the same bits


@pytest.mark.slow
def test_generate(checkpoint):
  sizes = ["--prompts", 2, "--prompt-tokens", 9, "--new-tokens", 6, "--chunk", 4, "--turns", 1]
  ours, theirs, medians = run_lines("generate", "--model", checkpoint, *sizes)
  assert ours["tokens"] == theirs["tokens"] == 2 * 6 and medians["times_faster"] > 0


TOY_GPU = ["--length", 64, "--rows", 2, "--micro-batches", 2, "--steps", 1, "--slots", 4, "--prompt", 8, "--chunk", 4]
TOY_GPU += ["--new-tokens", 16, "--prompts", 2, "--group", 4, "--head-chunk", 16]


@pytest.mark.slow
def test_gpu():
  lines = run_lines("gpu", "--shapes", "toy", "--trl-python", "/bin/false", *TOY_GPU)
  train, decode, step, trl = (line for line in lines)
  assert [line["part"] for line in lines] == ["train", "decode", "step", "trl"]
  assert train["rows"] == 4 and train["tflops_per_s"] > 0 and train["mfu"] is None  # no peak rate is published for CPUs
  assert decode["slots"] == 4 and decode["positions_mean"] == 8 + 4 + 12 / 2 and decode["roofline"] is None
  assert 0 < step["rollout_s"] < step["step_s"] and "left_out" in trl


def test_gpu_counts_what_the_program_multiplies():
  """The closed form matches the products of the traced forward and backward pass at a length where attention counts."""
  sys.path.insert(0, str(ROOT / "benchmarks"))
  gpu = importlib.import_module("gpu")
  shape, rows, length = gpu.TOY, 2, 64

  def loss(params, tokens):
    positions = jnp.broadcast_to(jnp.arange(length), tokens.shape)
    hidden = transformer.forward(params, shape, tokens, positions, jnp.ones_like(tokens))
    return transformer.logits(params, hidden).sum()

  params = transformer.init_params(shape, jax.random.key(0))
  traced = jax.make_jaxpr(jax.grad(loss))(params, jnp.zeros((rows, length), jnp.int32))
  square = shape.num_hidden_layers * 6 * shape.num_attention_heads * shape.head_dim * length**2 * rows
  # XLA attention also multiplies the masked half. The closed form counts only the half that is needed.
  assert count_flops(traced) == pytest.approx(gpu.training_flops(shape, rows, length) + square, rel=0.02)


def test_gpu_refuses_what_it_cannot_run():
  cases = {"--shapes: 9B": ["--shapes", "9B"], "--new-tokens": ["--new-tokens", "40"], "--parts: x": ["--parts", "x"]}
  for named, args in cases.items():
    done = subprocess.run([sys.executable, "benchmarks/gpu.py", *args], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and named in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_checkpoints(tmp_path):
  """Imports and exports 1.2 GB (2 to 4 minutes). Memory stays within bounds, and each of two hosts reads half."""
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
