"""Tests the plan command: its output, its JSON and its exit status."""

import dataclasses
import json
import subprocess
import sys

import pytest

from configs import qwen25_05b_gpu, stage1, stage2
from srpo_jax import plan
from srpo_jax.config import make_config
from srpo_jax.planning import analytic, chips
from srpo_jax.planning.chips import GIB
from srpo_jax.planning.search import best_of_each_mesh, rank
from srpo_jax.planning.shapes import published_shape
from srpo_jax.planning.target import set_mesh
from srpo_jax.planning.workload import Lengths, make_workload
from srpo_jax.utils.errors import InputError, TrainingError

SMALL = [
  "--config=configs/tiny.py",
  "--config.data.max_prompt_tokens=32",
  "--config.rollout.slots=32",
  "--config.rollout.max_new_tokens=16",
  "--config.train.micro_batch=8",
  "--config.train.pack_tokens=64",
]


def test_a_cpu_config_is_planned_without_training(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv("SRPO_CACHE", str(tmp_path))
  plan.main([*SMALL, f"--json={tmp_path / 'plan.json'}"])
  printed = capsys.readouterr().out
  assert "no times: cpu" in printed and "| generate" in printed
  found = json.loads((tmp_path / "plan.json").read_text())
  assert found["bounds"] is None and found["memory"]["fits"] is None
  assert set(found["programs"]) >= {"prefill", "insert", "generate", "accumulate", "apply"}
  assert "reshard" not in found["programs"]  # on one device and in one dtype, rollouts read the trainer's weights
  weights = 4 * found["parameters"]
  held = found["memory"]["residents"]
  assert held["weights"] == held["gradients"] == pytest.approx(weights, abs=256)  # plus pointers to the arrays
  assert held["moments"] == pytest.approx(2 * weights, abs=512)
  cache = 2 * 3 * 3 * 16 * 4 * 32 * 64  # k and v x layers x heads x features x bytes x slots x positions, of 32 + 16
  assert held["KV cache"] == pytest.approx(cache, rel=0.05)
  assert not list(tmp_path.glob("tiny-base*"))


def test_a_plan_that_does_not_fit_ends_with_its_largest_buffers(capsys, monkeypatch):
  little = dataclasses.replace(chips.GPUS["h100"], available=2**20)
  monkeypatch.setitem(chips.GPUS, "h100", little)
  with pytest.raises(TrainingError, match=r"does not fit: \w+ needs .* GiB .*largest buffers: .* GiB"):
    plan.main([*SMALL, "--topology=h100:1"])
  assert "DOES NOT FIT" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["--topology=v9:2x2"], "expected CHIP:SHAPE"),
    (["--topology=v5p"], "expected CHIP:SHAPE"),
    (["--topology=v5p:0x4x4"], "expected CHIP:SHAPE"),
    (["--topology=h100:2x2"], "expected a number of GPUs"),
    (["--topology=v5p:4x4x5"], r"80 chips, expected a multiple of config.mesh: .* = 64"),
    (["--topology=v5p:4x4x4", "--mean-length=-1"], "--mean-length: expected a positive number"),
    (["--topology=v5p:4x4x4", "--config.model.path=Llama-3-8B"], "none of the known shapes Qwen/Qwen2.5-0.5B"),
    (["--search"], "--search: expected --topology"),
    (["--topology=v5p:4x4x4", "--json=."], r"--json: \.: expected a file"),
  ],
)
def test_wrong_input_is_one_line(flags, words):
  with pytest.raises(InputError, match=words):
    plan.main(["--config=configs/stage1.py", *flags])


def test_the_command_exits_2(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "srpo_jax.plan", "--config=configs/stage1.py", "--topology=v5p:3x3x3"],
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
  assert done.stderr.startswith("error: --topology: v5p:3x3x3 has 27 chips")


def test_more_chips_split_the_weights_further():
  raw = stage1.get_config().to_dict()
  raw["data"]["train"] = "x.jsonl"
  config, notes = set_mesh(make_config(raw), 128, "v5p:4x4x8")
  assert dataclasses.astuple(config.mesh) == (1, 16, 8) and "--config.mesh.fsdp=16" in notes[0]
  same, notes = set_mesh(make_config(raw), 64, "v5p:4x4x4")
  assert dataclasses.astuple(same.mesh) == (1, 8, 8) and not notes


def test_stages_and_recipes_are_sound():
  for module in (stage1, stage2, qwen25_05b_gpu):
    raw = module.get_config().to_dict()
    raw["data"]["train"] = "x.jsonl"
    config = make_config(raw)
    assert config.loss.importance_cap == 2.0
    shape = published_shape(config.model.path)
    mesh = config.mesh
    assert analytic.divides(shape, mesh.data, mesh.fsdp, mesh.tensor)


def test_the_closed_form_of_32b_is_right_and_the_search_keeps_only_what_fits():
  raw = stage1.get_config().to_dict()
  raw["data"]["train"] = "x.jsonl"
  config, shape = make_config(raw), published_shape("Qwen2.5-32B")
  lengths = Lengths(2500, 0.8, 256)
  sizes = analytic.sizes(config, shape, config.train.pack_tokens)
  assert sizes.weights / GIB == pytest.approx(1.91, rel=0.01)  # from libtpu's memory_analysis() on 4x4x4
  assert sizes.moments / GIB == pytest.approx(3.82, rel=0.01)
  assert sizes.serving / GIB == pytest.approx(7.63, rel=0.01)
  topology = chips.parse_topology("v5p:4x4x4")
  config = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, prompts=16))
  ranked = rank(config, shape, topology, lengths)
  assert all(candidate.bytes < topology.chip.available for candidate in ranked)
  times = [round(c.step.seconds, 1) for c in ranked]
  assert times == sorted(times)
  best = best_of_each_mesh(ranked, 3)
  assert len({dataclasses.astuple(c.config.mesh) for c in best}) == 3
  tensors = {c.config.mesh.tensor for c in ranked}
  assert tensors <= {1, 2, 4, 8} and len(ranked) > 20  # common divisors of 40 heads and 64 chips
  with pytest.raises(InputError, match="no mesh of 4 chips holds the model"):
    rank(config, shape, chips.parse_topology("v5e:2x2"), lengths)


def test_the_search_on_a_tpu_pads_heads_of_half_a_register():
  raw = qwen25_05b_gpu.get_config().to_dict()
  raw["data"]["train"] = "x.jsonl"
  config, shape = make_config(raw), published_shape("Qwen2.5-0.5B")
  cache = 2 * 24 * 2 * 64 * 2 * 256 * 2560  # k and v x layers x heads x features x bytes of bf16 x slots x positions
  assert analytic.sizes(config, shape, 4096).cache == cache
  assert analytic.sizes(config, shape, 4096, lanes=128).cache == 2 * cache  # 15.00 GiB, as compiled for v5e:1x1
  lengths = Lengths(512, 0.8, 128)
  for topology, lanes in (("v6e:1x1", 128), ("h100:1", 1)):
    for found in rank(config, shape, chips.parse_topology(topology), lengths)[:3]:
      assert found.bytes == analytic.sizes(found.config, shape, 4096, lanes=lanes).peak


def test_the_closed_form_counts_the_options_of_a_model():
  """By hand for Qwen3-0.6B: a token's normed queries and keys are 16 + 8 heads of 128, and their weights 2 x 128."""
  raw = qwen25_05b_gpu.get_config().to_dict()
  raw["data"]["train"] = "x.jsonl"
  config, shape = make_config(raw), published_shape("Qwen3-0.6B")
  plain = dataclasses.replace(shape, qk_norm=False)
  with_norms, without = (analytic.sizes(config, s, 4096) for s in (shape, plain))
  assert with_norms.weights - without.weights == 28 * 2 * 128 * 4
  assert with_norms.serving - without.serving == 28 * 2 * 128 * 2
  rows, layers = config.train.micro_batch, 1 if config.model.remat == "full" else 28
  inside = rows * 4096 * layers * (16 + 8) * 128 * 2
  assert with_norms.update_temporaries - without.update_temporaries == pytest.approx(inside, rel=1e-3)


def test_stage_2_runs_the_programs_of_stage_1():
  """A plan of one stage holds for the other. The stages differ only in their data, ends and history."""
  first, second = (module.get_config().to_dict() for module in (stage1, stage2))
  for section in ("model", "mesh", "rollout", "loss", "optimizer"):
    assert first[section] == second[section]
  free = {"stage", "epochs"}
  assert {k: v for k, v in first["train"].items() if k not in free} == {
    k: v for k, v in second["train"].items() if k not in free
  }


def test_more_slots_take_fewer_steps():
  raw = stage1.get_config().to_dict()
  raw["data"]["train"] = "x.jsonl"
  config = make_config(raw)
  few = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, slots=256))
  steps = [make_workload(c, Lengths(2500, 0.8, 256)).rollouts.steps for c in (few, config)]
  assert steps[0] > 3 * steps[1]
