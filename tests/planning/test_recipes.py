"""Compiles the shipped configs for the machines that they name, which takes minutes."""

import importlib
import json
import re
import types

import pytest

from srpo_jax import plan
from srpo_jax.config import flatten
from srpo_jax.planning import chips
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT

STAGES = ("stage1", "stage2")
ROOM = 0.95  # largest fraction of the memory that a shipped config may use


def planned(name, topology, tmp_path, *flags):
  plan.main([f"--config=configs/{name}.py", f"--topology={topology}", f"--json={tmp_path / 'plan.json'}", *flags])
  return json.loads((tmp_path / "plan.json").read_text())


@pytest.mark.slow  # one to four minutes each on two cores
@pytest.mark.parametrize(
  ("name", "topology"),
  [
    ("qwen25_05b_gpu", "h100:1"),  # compiled by XLA:CPU, because there is no GPU here
    ("qwen25_15b_v6e8", "v6e:2x4"),
    ("qwen25_7b_v5p8", "v5p:2x2x1"),
    ("stage1", "v5p:4x4x4"),
    ("stage1", "v5p:4x4x8"),
  ],
)
def test_a_recipe_compiles_and_fits(name, topology, tmp_path):
  found = planned(name, topology, tmp_path)
  memory = found["memory"]
  assert memory["fits"] and memory["peak"]["bytes"] < ROOM * memory["available"]
  assert not any(program["refused"] for program in found["programs"].values())
  bounds = found["bounds"]
  assert 0 < bounds["step_mfu"] < 1 and 0 < bounds["update_mfu"] <= 1
  assert bounds["seconds"] == pytest.approx(sum(phase["seconds"] for phase in bounds["phases"]))


def test_stage_2_compiles_the_programs_of_stage_1():
  first, second = (flatten(importlib.import_module(f"configs.{name}").get_config().to_dict()) for name in STAGES)
  differ = {field for field in first.keys() | second.keys() if first.get(field) != second.get(field)}
  assert {field for field in differ if not field.startswith("stages.")} == {"init_from", "train.stage", "train.epochs"}


@pytest.mark.slow  # two minutes on two cores
def test_a_program_that_xla_refuses_is_reported_with_its_buffers(tmp_path):
  flags = ["--config.rollout.slots=8192", "--config.rollout.max_new_tokens=30000", "--config.train.pack_tokens=32768"]
  with pytest.raises(plan.TrainingError, match=r"does not fit: cache: .* \(largest buffers: .* GiB "):
    planned("qwen25_15b_v6e8", "v6e:2x4", tmp_path, *flags)
  found = json.loads((tmp_path / "plan.json").read_text())
  assert found["bounds"] is None and not found["memory"]["fits"]
  assert "RESOURCE_EXHAUSTED" in found["programs"]["cache"]["refused"]


@pytest.mark.parametrize("name", ["qwen25_05b_gpu", "qwen25_15b_v6e8", "qwen25_7b_v5p8"])
def test_a_recipe_says_how_to_run_it_and_what_it_takes(name):
  text = importlib.import_module(f"configs.{name}").__doc__
  assert f"--config=configs/{name}.py" in text and "python -m srpo_jax.plan" in text
  assert "Watch:" in text and "Data:" in text and "|" not in text
  plan = (ROOT / re.search(r"docs/plan/\S+\.md", text)[0]).read_text()
  assert re.search(r"\| generate +\|", plan) and "BOUNDS: step at least" in plan


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("[!_]*.py")), ids=lambda file: file.stem)
def test_a_config_is_the_record_of_an_experiment(file):
  """Its docstring gives command, hardware, hours and result, or "not run yet" with the plan's bounds."""
  text = importlib.import_module(f"configs.{file.stem}").__doc__
  if file.stem != "base":  # base holds only defaults and is never run by itself
    assert f"--config=configs/{file.name}" in text and "\nHardware: " in text
  assert "ot run yet" in text or ("\nHours: " in text and "\nResult" in text)
  for path in re.findall(r"docs/plan/\S+\.md", text):
    plan = (ROOT / path).read_text()
    seconds, hours = re.search(r"least ([\d.]+) s per step and ([\d.,]+) chip-hours per 1,000 steps", text).groups()
    assert f"step at least {seconds} s" in plan and f"at least {hours} chip-hours per 1,000 steps" in plan


def test_missing_libtpu_is_reported_in_one_line(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "libtpu", None)
  with pytest.raises(InputError, match=r"libtpu is not installed, expected `pip install 'srpo-jax\[tpu\]'`"):
    chips.tpu_devices(chips.parse_topology("v5p:2x2x1"))


@pytest.mark.slow  # 15 s on two cores
def test_a_search_compiles_the_best_candidates(tmp_path, capsys):
  flags = ["--config.rollout.prompts=4", "--config.data.max_prompt_tokens=32", "--config.rollout.max_new_tokens=16"]
  found = planned("tiny", "h100:1", tmp_path, *flags, "--config.train.pack_tokens=64", "--search")
  printed = capsys.readouterr().out
  assert "fit by the closed form" in printed and "launch with --config.mesh.data=1" in printed
  assert len(found) == 1 and found[0]["memory"]["fits"] and found[0]["bounds"]["seconds"] > 0


@pytest.mark.parametrize("name", ["qwen25_05b_gpu", "qwen3_06b_gpu"])
def test_a_card_with_less_memory_gets_fewer_slots(name):
  recipe = importlib.import_module(f"configs.{name}")
  large, small = (recipe.get_config(card) for card in ("80gb", "24gb"))
  assert small.rollout.slots < large.rollout.slots and small.train.micro_batch < large.train.micro_batch
  assert small.rollout.prompts == large.rollout.prompts
  with pytest.raises(ValueError, match="16gb: expected one of the cards 80gb, 24gb"):
    recipe.get_config("16gb")


@pytest.mark.parametrize(
  ("kind", "chip"),
  [
    ("NVIDIA H100 80GB HBM3", "h100"),
    ("NVIDIA A100-SXM4-80GB", "a100"),
    ("NVIDIA L4", "l4"),
    ("NVIDIA L40S", None),
    ("NVIDIA GeForce RTX 4090", "rtx4090"),
    ("TPU v5 lite", "v5e"),
  ],
)
def test_the_chip_of_a_device(kind, chip):
  platform = "tpu" if kind.startswith("TPU") else "gpu"
  found = chips.chip_of(types.SimpleNamespace(device_kind=kind, platform=platform))
  assert found.name == (chip or kind.lower()) and (found.flops is None) == (chip is None)
