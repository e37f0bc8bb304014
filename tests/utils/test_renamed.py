"""Files and command lines of earlier versions, which keep their meaning."""

import json
import logging

import pytest

from configs import tiny
from srpo_jax.cli.config_flags import override, parse_config
from srpo_jax.config import check_same_run, make_config, read_config
from srpo_jax.data.curation.config import CurateConfig
from srpo_jax.utils import fields, renamed
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.resumable import claim, read_settings

OLD_BUILD = "srpo_jax.warmup:tiny_base"


def old_values():
  """Returns the values of a config as written by versions before the renames."""
  raw = tiny.get_config("staged").to_dict()
  raw["reward"]["limit_s"] = raw["reward"].pop("timeout_s")
  raw["reward"]["mix_weight"] = raw["reward"].pop("language_penalty")
  raw["sandbox"]["limit_s"] = raw["sandbox"].pop("timeout_s")
  raw["model"]["build"] = OLD_BUILD
  raw["data"]["train"] = "srpo_jax.data.synthetic:train_problems, srpo_jax.data.synthetic_code:train_programs"
  return raw


def test_an_old_config_json_is_that_of_the_same_run(tmp_path, caplog):
  file = tmp_path / "config.json"
  file.write_text(json.dumps(old_values()))
  config = make_config(tiny.get_config("staged"))
  with caplog.at_level(logging.INFO):
    assert read_config(file) == config
  (line,) = [record.getMessage() for record in caplog.records if "old names" in record.getMessage()]
  assert "reward.limit_s" in line and "sandbox.limit_s" in line and OLD_BUILD in line
  check_same_run(config, file)
  assert read_config(file, ["--config.reward.limit_s=3"]).reward.timeout_s == 3.0


def test_a_field_that_config_json_lacks_takes_its_default(tmp_path):
  raw = old_values()
  del raw["sandbox"], raw["loss"]["importance_cap"], raw["stages"]["stage1"]["restore_retired"]
  (tmp_path / "config.json").write_text(json.dumps(raw))
  assert read_config(tmp_path / "config.json") == make_config(tiny.get_config("staged"))
  raw["loss"]["bogus"] = 1
  (tmp_path / "config.json").write_text(json.dumps(raw))
  with pytest.raises(InputError, match=r"config\.loss\.bogus: unknown field, expected one of clip_low, "):
    read_config(tmp_path / "config.json")


def test_a_field_under_both_names_is_refused():
  raw = old_values()
  raw["reward"]["timeout_s"] = 1.0
  with pytest.raises(InputError, match=r"config\.reward\.limit_s: unknown field"):
    make_config(raw)


def test_old_names_on_the_command_line(monkeypatch):
  monkeypatch.setitem(renamed.FLAGS, "export", {"--output": "--out"})
  args = ["--output", "a", "--output=b", "--config.reward.mix_weight=0.2", "--other=--output", "--", "--output"]
  expected = ["--out", "a", "--out=b", "--config.reward.language_penalty=0.2", "--other=--output", "--", "--output"]
  assert renamed.current_args("export", args) == expected
  assert renamed.current_args("plan", ["--output=b"]) == ["--output=b"]
  flags = ["--config=configs/tiny.py", "--config.sandbox.limit_s", "6", f"--config.model.build={OLD_BUILD}"]
  config = make_config(parse_config("launch", flags)[0])
  assert config.sandbox.timeout_s == 6.0 and config.model.build == tiny.get_config().model.build
  assert override({"reward": {"timeout_s": 4.0}}, ["--config.reward.limit_s=3"]) == {"reward": {"timeout_s": 3.0}}
  args = ["--config=configs/curate.py", "--config.verify.limit_s=2", "--config.output=x"]
  curate, _ = parse_config("curate", args)
  assert curate["verify"]["timeout_s"] == 2.0


def test_work_begun_by_an_earlier_version_continues(tmp_path):
  (tmp_path / "settings.json").write_text('{"config.reward.limit_s": 4.0, "--samples": 2}')
  settings = {"config.reward.timeout_s": 4.0, "--samples": 2}
  claim(tmp_path, settings)
  assert read_settings(tmp_path) == settings
  with pytest.raises(InputError, match=r"config\.reward\.timeout_s \(4.0 there, 5.0 here\)"):
    claim(tmp_path, settings | {"config.reward.timeout_s": 5.0})


def test_every_new_name_is_a_field():
  known = {
    "reward": make_config(tiny.get_config()),
    "sandbox": make_config(tiny.get_config()),
    "verify": CurateConfig(),
  }
  for old, new in renamed.FIELDS.items():
    section, name = new.split(".")
    assert name in fields.defaults(type(getattr(known[section], section)))
    assert old.split(".")[0] == section
