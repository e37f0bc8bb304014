"""Runs whose base is on the hub, against a local stand-in (tests/helpers/fake_hub.py)."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save

from srpo_jax import export, logprobs
from srpo_jax.checks.examine import examine
from srpo_jax.cli.policy_flags import find_policy
from srpo_jax.config import read_config
from srpo_jax.data.labelling.options import label_config
from srpo_jax.data.labelling.options import read_options as label_options
from srpo_jax.evaluation.options import default_out, evaluation_config
from srpo_jax.evaluation.options import read_options as evaluation_options
from srpo_jax.model import hf
from srpo_jax.planning.shapes import model_shape
from srpo_jax.rollout.policy import of_run
from srpo_jax.training.build import base_folder
from srpo_jax.training.recording import Recording
from srpo_jax.training.run import Run
from srpo_jax.utils.errors import InputError
from tests.helpers.fake_hub import Repository, folder_files, forget, serve_hub, use_here
from tests.helpers.paths import ROOT
from tests.helpers.runs import assert_same_run, launch, toy

TEMPLATE = "additional_chat_templates/rag.jinja"


@pytest.fixture
def hub(tmp_path, monkeypatch):
  """A hub with own/model, used by this process."""
  with serve_hub() as hub:
    use_here(hub, monkeypatch, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    hub.repositories["own/model"] = Repository()
    yield hub


def other_weights(checkpoint) -> dict[str, bytes]:
  """Returns the files of a checkpoint with other weights."""
  weights = {name: -tensor for name, tensor in load_file(checkpoint / "model.safetensors").items()}
  return folder_files(checkpoint) | {"model.safetensors": save(weights, {"format": "pt"})}


def test_a_run_keeps_its_commit_when_the_branch_moves(hub, talkative, finished_run, tmp_path):
  files = folder_files(talkative) | {TEMPLATE: b"rag"}
  commit = hub.repositories["own/model"].push(files)
  workdir, config = tmp_path / "w", toy("own/model")
  with Run(config, workdir):
    pass  # ends before its first checkpoint, so that the next start needs the base's weights
  assert read_config(workdir / "config.json").model.revision == commit
  moved = hub.repositories["own/model"].push(other_weights(talkative))
  forget()
  launch(toy("own/model"), workdir)
  assert not any(moved in path for _, path, *_ in hub.requests)
  assert_same_run(finished_run, workdir)
  assert read_config(workdir / "config.json").model.revision == commit
  assert json.loads((workdir / "config.json").read_text())["model"]["path"] == "own/model"
  # What reads the run needs no hub, and the export has the base's files.
  hub.repositories.clear()
  forget()
  with Recording(workdir) as recording:
    recording.state_before(0)
  assert of_run(workdir, None).step == 4
  export.main(["--workdir", str(workdir), "--out", str(tmp_path / "out")])
  written = folder_files(tmp_path / "out")
  assert written.keys() == files.keys()
  assert {name for name in files if written[name] != files[name]} == {"model.safetensors"}


def test_another_revision_is_refused_on_resume(hub, talkative, tmp_path):
  repository, workdir = hub.repositories["own/model"], tmp_path / "w"
  commit = repository.push(folder_files(talkative))
  with Run(toy("own/model@main"), workdir):
    pass
  other = repository.push(other_weights(talkative), "v2")
  hub.requests.clear()
  for path in ("own/model@v2", "own/model", f"own/model@{other}"):
    with pytest.raises(InputError, match=rf"model\.path \('own/model@main' there, '{path}' here\)$"):
      Run(toy(path), workdir)
  words = rf"another config: model\.revision \('{commit}' there, '{other}' here\)$"
  with pytest.raises(InputError, match=words):
    Run(toy("own/model@main", model__revision=other), workdir)
  assert hub.requests == []
  with Run(toy("own/model@main", model__revision=commit), workdir) as run:
    assert run.config.model.revision == commit
  (tmp_path / "own").mkdir()
  (tmp_path / "own" / "model@main").symlink_to(talkative)
  with pytest.raises(
    InputError, match=r"own/model@main is a folder here, and .*w/config\.json started from a model on"
  ):
    Run(toy("own/model@main"), workdir)


def test_a_folder_that_is_gone_is_not_taken_from_the_hub(hub, talkative, tmp_path):
  hub.repositories["own/model"].push(folder_files(talkative))
  (tmp_path / "own").mkdir()
  (tmp_path / "own" / "model").symlink_to(talkative)
  with Run(toy("own/model"), tmp_path / "w") as run:
    assert run.config.model.revision == ""
  (tmp_path / "own" / "model").unlink()
  with pytest.raises(InputError, match=r"own/model is no folder here, and .*w/config\.json started from a folder"):
    Run(toy("own/model"), tmp_path / "w")
  assert hub.requests == []


def test_a_commit_that_does_not_fit_is_refused(talkative, tmp_path):
  with pytest.raises(
    InputError, match=r"config\.model\.revision: expected a commit of 40 hex digits, got v2 \(a branch"
  ):
    toy("own/model", model__revision="v2")
  with pytest.raises(InputError, match=r"config\.model\.revision: a{40}: .* is not a model on the hub"):
    Run(toy(talkative, model__revision="a" * 40), tmp_path / "w")


def test_doctor_examines_the_commit_of_the_run(hub, talkative, tmp_path, monkeypatch):
  commit = hub.repositories["own/model"].push(folder_files(talkative))
  with Run(toy("own/model"), tmp_path / "w"):
    pass
  hub.repositories["own/model"].push(other_weights(talkative))
  examined = []

  def stop(config):
    examined.append(config.model.revision)
    raise InputError("enough")

  monkeypatch.setattr("srpo_jax.checks.examine.starting_policy", stop)
  with pytest.raises(InputError, match="enough"):
    examine(toy("own/model", sandbox__min_tier="unsafe"), tmp_path / "w", lambda finding: None)
  assert examined == [commit]


def test_every_command_takes_a_name(hub, talkative, tmp_path):
  commit = hub.repositories["own/model"].push(folder_files(talkative))
  recipe = f"--config={ROOT}/configs/tiny.py"
  assert model_shape("own/model@main") == hf.read_config(talkative)
  assert "config.json" in (fetched := hub.fetched()) and "model.safetensors" not in fetched
  options, overrides = evaluation_options(["--model", "own/model", "--sets", "aime24", recipe], "")
  policy = find_policy(options)
  assert (policy.folder.name, policy.run, default_out(options, 0)) == (commit, None, Path("model-evaluation"))
  assert evaluation_config(options, overrides).model.path == "own/model"
  named = [recipe, "--model", "own/model", "--input", "in.jsonl", "--out", "out.jsonl"]
  assert base_folder(label_config(*label_options(named, ""))) == policy.folder
  texts = tmp_path / "texts.jsonl"
  texts.write_text('{"text": "one and one"}\n')
  for name in ("own/model", str(talkative)):
    logprobs.main(["--model", name, "--input", str(texts), "--out", str(tmp_path / f"{len(name)}.jsonl")])
  one, other = (tmp_path / f"{len(name)}.jsonl" for name in ("own/model", str(talkative)))
  assert one.read_bytes() == other.read_bytes()
