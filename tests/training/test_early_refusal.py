"""Commands that refuse a prompt before they make or load a model."""

import json

import pytest

from srpo_jax import curate, doctor, evaluate, launch
from srpo_jax.utils.errors import InputError

TINY = ["--config=configs/tiny.py", "--config.model.build=tests.helpers.plugins:no_model"]
JSON = "--config.reward.validator=json"
BOX = r"config\.prompt\.math: asks for \\boxed\{\}, but config\.reward\.validator=json"


@pytest.mark.parametrize("command", [launch, doctor])
def test_a_run_whose_prompt_asks_for_another_form(command, tmp_path):
  with pytest.raises(InputError, match=BOX):
    command.main([*TINY, f"--workdir={tmp_path / 'w'}", JSON])
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("command", [launch, doctor])
def test_only_domains_in_use_are_checked(command, tmp_path):
  """Every other domain's instruction may ask for anything."""
  asks = '--config.prompt.math=Answer with a JSON object: {"answer": ...}.'
  line = [*TINY, f"--workdir={tmp_path / 'w'}", JSON, asks]
  with pytest.raises(AssertionError, match="a base model was made"):
    command.main(line)
  held_out = "--config.data.eval=srpo_jax.data.toy.programs:heldout_programs"
  with pytest.raises(InputError, match=r"config\.prompt\.code: asks for a ```python block"):
    command.main([*line, held_out])


def test_evaluation_and_labelling(talkative, tmp_path, monkeypatch):
  rows = tmp_path / "rows.jsonl"
  rows.write_text(json.dumps({"domain": "math", "question": "1 + 1?", "answer": "2"}) + "\n")
  for reader in ("data.labelling.work.of_folder", "evaluation.evaluation.read_model_files"):
    monkeypatch.setattr(f"srpo_jax.{reader}", lambda *_: pytest.fail("a model is read"))
  policy = [f"--model={talkative}", "--config=configs/tiny.py", JSON]
  with pytest.raises(InputError, match=BOX):
    curate.main(["label", *policy, f"--input={rows}", f"--out={tmp_path / 'labelled.jsonl'}"])
  with pytest.raises(InputError, match=BOX):
    evaluate.main([*policy, f"--sets={rows}", f"--out={tmp_path / 'out'}"])
