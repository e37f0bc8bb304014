"""Every field of a config is checked once, when the config is made."""

import argparse
import dataclasses
import json

import pytest

from configs import base, stage1, tiny
from srpo_jax.cli.policy_flags import policy_config
from srpo_jax.config import MeshConfig, check_same_run, flatten, make_config, read_config, to_json
from srpo_jax.data.labelling.options import label_config
from srpo_jax.utils.errors import InputError


def raw(**changes):
  config = tiny.get_config().to_dict()
  for name, value in changes.items():
    section, field = name.split("__")
    config[section][field] = value
  return config


def refused(raw_config, *words):
  with pytest.raises(InputError) as error:
    make_config(raw_config)
  assert all(word in str(error.value) for word in words), error.value


def test_shipped_configs():
  assert make_config(tiny.get_config()).rollout.prompts == 32
  refused(base.get_config(), "config.model.path")
  paper = stage1.get_config()
  refused(paper, "config.data.train")
  paper.data.train = "math.jsonl"
  paper = make_config(paper)
  assert (paper.rollout.prompts, paper.rollout.group, paper.rollout.max_new_tokens) == (256, 32, 10_240)
  assert dataclasses.astuple(paper.optimizer)[:3] == (1e-6, 0.9, 0.95)
  assert (paper.loss.importance_cap, paper.model.param_dtype, paper.model.dtype) == (2.0, "float32", "bfloat16")
  assert base.get_config().train.steps == 0


def test_unknown_and_missing_fields_are_named():
  refused(raw(rollout__promts=3), "config.rollout.promts", "unknown field")
  refused(raw() | {"rolout": {}}, "config.rolout", "unknown field")
  config = raw()
  del config["loss"]["clip_low"]
  refused(config, "config.loss.clip_low", "missing field")
  refused(raw() | {"loss": 3}, "config.loss")


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("rollout__prompts", 0),
    ("rollout__group", 1),
    ("rollout__prompts", 2.5),
    ("rollout__prompts", True),
    ("rollout__temperature", 0.0),
    ("rollout__temperature", float("nan")),
    ("rollout__temperature", 1e-37),
    ("rollout__backend", "vllm"),
    ("model__dtype", "float16"),
    ("model__path", None),
    ("advantage__scale", "variance"),
    ("advantage__scale", -1.0),
    ("advantage__function", "no_such_module:f"),
    ("history__mode", "dapo"),
    ("history__dynamic_sampling", 1),
    ("optimizer__b2", 1.0),
    ("loss__clip_low", 1.0),
    ("train__seed", -1),
    ("data__train", ""),
  ],
)
def test_values_out_of_range_are_named(field, value):
  refused(raw(**{field: value}), "config." + field.replace("__", "."))


def test_weights_that_let_a_wrong_response_outrank_a_correct_one():
  refused(raw(reward__format_weight=0.6, reward__language_penalty=0.5), "format_weight", "language_penalty")


def test_a_run_needs_an_end():
  refused(raw(train__steps=0), "config.stages.stage1.steps: no end", "config.train.steps, epochs or rollouts")


def test_numbers_for_a_scale():
  assert make_config(raw(advantage__scale=0.05)).advantage.scale == 0.05
  assert make_config(raw(advantage__scale="0.05")).advantage.scale == 0.05
  assert make_config(raw(advantage__scale="none")).advantage.scale == "none"
  assert make_config(raw(reward__timeout_s=4)).reward.timeout_s == 4.0


def test_round_trip_and_the_refusal_of_another_config(tmp_path):
  config = make_config(raw())
  file = tmp_path / "config.json"
  file.write_text(to_json(config))
  assert read_config(file) == config
  check_same_run(config, file)
  check_same_run(make_config(raw(train__steps=999, checkpoint__every=7, log__every=3)), file)
  with pytest.raises(InputError) as error:
    check_same_run(make_config(raw(optimizer__learning_rate=0.5, train__seed=9)), file)
  assert "optimizer.learning_rate (0.0002 there, 0.5 here)" in str(error.value)
  assert "train.seed (0 there, 9 here)" in str(error.value)


def test_only_the_last_stage_may_change_its_end(tmp_path):
  def staged(**steps):
    stages = tiny.get_config("staged").stages.to_dict()
    for name, n in steps.items():
      stages[name]["steps"] = n
    return make_config(tiny.get_config("staged").to_dict() | {"stages": stages})

  file = tmp_path / "config.json"
  file.write_text(to_json(staged()))
  check_same_run(staged(stage2=7), file)
  with pytest.raises(InputError, match=r"stages\.stage1\.steps \(110 there, 7 here\)"):
    check_same_run(staged(stage1=7), file)


def test_flatten_names_every_field():
  flat = flatten(make_config(raw()))
  assert flat["rollout.group"] == 16 and len(flat) > 50
  assert json.dumps(flat)


def test_sampling_outside_of_training_uses_one_device():
  """Without --config, labelling, evaluation and serving use one device, which every machine has."""
  options = argparse.Namespace(input="x", temperature=None, max_new_tokens=None, seed=None, config="configs/base.py")
  options.model = "base"
  assert label_config(options, []).mesh == MeshConfig(1, 1, 1)
  sampled = argparse.Namespace(model="base", workdir=None, config=None)  # as in evaluate and serve
  assert policy_config(sampled, []).mesh == MeshConfig(1, 1, 1)
