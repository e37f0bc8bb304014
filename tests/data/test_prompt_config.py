"""The section `prompt` of a config: its rules, short spellings on the command line, and earlier config.json files."""

import dataclasses
import json

import pytest

from srpo_jax.cli.run_flags import parse_flags
from srpo_jax.config import check_same_run, flatten, make_config, read_config, to_json
from srpo_jax.data.labelling.settings import config_settings
from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT

JUDGES = "--config.reward.judges=puzzle=tests.helpers.judge_plugins:told"


def flags(*more):
  return parse_flags([f"--config={ROOT / 'configs/tiny.py'}", *more])[0]


def earlier(folder, config, prompt):
  """Writes the config.json of an earlier version, whose section `prompt` had only instructions."""
  file = folder / "config.json"
  file.write_text(json.dumps(json.loads(to_json(config)) | {"prompt": prompt}))
  return file


@pytest.mark.parametrize(
  "given",
  [
    ["--config.prompt.math=Box=it.", "--config.prompt.puzzle=Brief."],
    ["--config.prompt.math", "Box=it.", "--config.prompt.puzzle", "Brief."],
    ["--config.prompt.instructions.math=Box=it.", "--config.prompt.instructions.puzzle=Brief."],
  ],
)
def test_instructions_have_a_short_spelling(given):
  prompt = flags(JUDGES, *given, "--config.prompt.style=chat", "--config.prompt.system=").prompt
  assert prompt.instructions == DEFAULT_INSTRUCTIONS | {"math": "Box=it.", "puzzle": "Brief."}
  assert (prompt.style, prompt.system) == ("chat", "")


def test_a_config_file_may_set_only_instructions(tmp_path):
  lines = "from configs import tiny\ndef get_config():\n  c = tiny.get_config()\n  c.prompt = {}\n  return c\n"
  (tmp_path / "c.py").write_text(lines.format({"math": "Box it."}))
  prompt = parse_flags([f"--config={tmp_path / 'c.py'}", "--config.prompt.style=chat"])[0].prompt
  assert (prompt.instructions, prompt.style) == ({"math": "Box it."}, "chat")
  (tmp_path / "c.py").write_text(lines.replace("c.prompt = {}", "c.prompt.math = 'Box it.'"))
  assert parse_flags([f"--config={tmp_path / 'c.py'}"])[0].prompt.instructions == DEFAULT_INSTRUCTIONS | {
    "math": "Box it."
  }


def test_an_earlier_config_json_means_what_it_did(tmp_path):
  config = flags("--config.prompt.math=Box it.")
  file = earlier(tmp_path, config, {"math": "Box it.", "code": DEFAULT_INSTRUCTIONS["code"]})
  assert read_config(file) == config
  check_same_run(config, file)
  assert read_config(file, ["--config.prompt.code=Fence."]).prompt.instructions["code"] == "Fence."
  assert read_config(earlier(tmp_path, config, {})).prompt.instructions == {}
  with pytest.raises(InputError, match=r"prompt\.style \('base' there, 'chat' here\)"):
    check_same_run(flags("--config.prompt.style=chat"), file)


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (["style=prose"], r"prompt\.style: expected one of base, chat, template, got 'prose'"),
    (["stile=chat"], r"prompt\.stile: unknown field, expected one of math, code, style, template, instructions"),
    (["puzzle=x"], r"prompt\.puzzle: unknown field, expected one of math, code"),
    (["opens_think=user"], r"prompt\.opens_think: expected one of prompt, template, model, got 'user'"),
    (["opens_think=model"], r"prompt\.opens_think: expected prompt with style=base"),
    (["style=template"], r"prompt\.template: expected a text with {question}, or a file with style=template"),
    (["template={question}"], r"prompt\.template: expected nothing, or style=template with style=base"),
    (["style=template", "template={question}", "examples=x.jsonl"], r"prompt\.examples: expected nothing with style="),
  ],
)
def test_what_does_not_fit_is_named(given, message):
  with pytest.raises(InputError, match=rf"config\.{message}"):
    flags(*(f"--config.prompt.{name}" for name in given))


def test_fields_in_a_config_json(tmp_path):
  config = flags("--config.prompt.style=template", "--config.prompt.template={question}\n<think>")
  (tmp_path / "config.json").write_text(to_json(config))
  assert read_config(tmp_path / "config.json") == config == make_config(dataclasses.asdict(config))
  assert flatten(config)["prompt.instructions.math"] == DEFAULT_INSTRUCTIONS["math"]


def test_a_resumable_job_records_what_makes_the_prompt(tmp_path):
  def settings(*given):
    return config_settings(flags(*(f"--config.prompt.{name}" for name in given)), ())

  plain = {f"config.prompt.{domain}": text for domain, text in DEFAULT_INSTRUCTIONS.items()}
  assert settings() == plain  # as in the folders of earlier versions
  assert settings("style=chat", "system=") == plain | {"config.prompt.style": "chat", "config.prompt.system": ""}
  file = tmp_path / "examples.jsonl"
  file.write_text('{"question": "1?", "response": "1. </think> <answer> \\\\boxed{1} </answer>"}\n')
  first = settings(f"examples={file}")
  assert first.keys() == {*plain, "config.prompt.examples"}
  file.write_text(file.read_text().replace("1?", "2?"))
  assert settings(f"examples={file}") != first
  (tmp_path / "t.txt").write_text("{question} <think>\n")
  own = settings("style=template", f"template={tmp_path / 't.txt'}")
  assert own["config.prompt.template"] == "{question} <think>"
