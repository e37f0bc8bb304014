"""Models by name, through HF_ENDPOINT against a local stand-in for the hub (tests/helpers/fake_hub.py).

Most calls are processes of their own with their own cache, as a command is. The real hub, its CDN and its Xet storage
are not covered.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from srpo_jax.model.folder import hub_model, model_folder, model_name
from srpo_jax.model.hub import HubModel
from srpo_jax.utils.errors import InputError
from tests.helpers.fake_hub import TOKEN, Hub, Repository, serve_hub, use_here

SMALL = {
  "config.json": b'{"model_type": "qwen2"}',
  "generation_config.json": b"{}",
  "tokenizer.json": b"{ }",
  "tokenizer_config.json": b"{  }",
  "chat_template.jinja": b"template",
  "additional_chat_templates/rag.jinja": b"another",
}
SHARDS = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 300_000 for i in (1, 2)}
INDEX = {"model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode()}
WHOLE = SMALL | SHARDS | INDEX
NOT_FETCHED = {
  "README.md": b"#",
  "modeling_own.py": b"raise SystemExit",
  "pytorch_model.bin": b"pickle",
  "consolidated.safetensors": b"the same weights again",
  "onnx/config.json": b"{}",
  "original/model.safetensors": b"x",
}


@pytest.fixture
def hub():
  with serve_hub() as hub:
    hub.repositories["own/model"] = Repository()
    yield hub


def fetched(done) -> dict[str, bytes]:
  """Returns the files of the folder that a call printed."""
  assert done.returncode == 0 and done.stdout.count("\n") == 1, done.stderr
  folder = Path(done.stdout.strip())
  return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def refused(done) -> str:
  """Returns the error of a call that ended with exit status 2 and one line."""
  assert done.returncode == 2 and done.stdout == "", done
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
  return done.stderr


def test_only_the_files_that_are_read_are_fetched_once(hub: Hub, tmp_path):
  commit = hub.repositories["own/model"].push(WHOLE | NOT_FETCHED)
  done = hub.call(tmp_path, "own/model")
  assert fetched(done) == WHOLE and Path(done.stdout.strip()).name == commit and done.stderr == ""
  assert sorted(hub.fetched()) == sorted(WHOLE)
  assert fetched(hub.call(tmp_path, "own/model")) == WHOLE and hub.fetched() == []
  hub.repositories["own/model"].push(SMALL | {"model.safetensors": b"one file", "adapter_model.safetensors": b""}, "v2")
  assert fetched(hub.call(tmp_path, "own/model@v2")) == SMALL | {"model.safetensors": b"one file"}
  assert fetched(hub.call(tmp_path, f"own/model@{commit}")) == WHOLE


def test_the_token_is_sent_and_its_absence_explained(hub: Hub, tmp_path):
  hub.repositories["own/model"] = Repository(gated=True)
  hub.repositories["own/model"].push(WHOLE)
  hub.repositories["own/hidden"] = Repository(private=True)
  hub.repositories["own/hidden"].push(WHOLE)
  gated = refused(hub.call(tmp_path, "own/model"))
  assert f"accept the licence at {hub.url}/own/model and set HF_TOKEN" in gated
  hidden = refused(hub.call(tmp_path, "own/hidden"))
  assert "own/hidden: no such folder, and no such repository" in hidden and "HF_TOKEN" in hidden
  assert "refuses the token" in refused(hub.call(tmp_path, "own/model", HF_TOKEN="hf_wrong"))
  hub.requests.clear()
  assert fetched(hub.call(tmp_path, "own/model", HF_TOKEN=TOKEN)) == WHOLE
  assert {told for _, path, told, _ in hub.requests if "own/model" in path} == {f"Bearer {TOKEN}"}
  assert fetched(hub.call(tmp_path, "own/hidden", HF_TOKEN=TOKEN)) == WHOLE
  hub.status = 403
  assert "access is refused (403)" in refused(hub.call(tmp_path / "new", "own/model", HF_TOKEN=TOKEN))


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("own/none", "own/none: no such folder, and no such repository at http"),
    ("own/model@v9", "no revision v9 at http"),
    (f"own/model@{'0' * 40}", f"no revision {'0' * 40} at http"),
    ("own/model@bin", "has no model.safetensors (only pytorch_model.bin), expected a model in safetensors form"),
    ("own/model@part", "has no model-00002-of-00002.safetensors, expected a model in safetensors form"),
    ("own/model@data", "has no config.json, expected the repository of a language model"),
    ("own/model@pickle", "expected a weight_map of tensor names to .safetensors files"),
    ("own/model@", "expected a local folder, owner/name[@revision] on the Hugging Face hub, or gs://BUCKET/FOLDER"),
    ("own/model@a@b", "expected a local folder, owner/name[@revision] on the Hugging Face hub"),
    ("own/a/model", "expected a local folder, owner/name[@revision] on the Hugging Face hub"),
    ("own/two--dashes", "expected a local folder, owner/name[@revision] on the Hugging Face hub"),
    ("https://huggingface.co/own/model", "expected a folder, or gs://BUCKET/FOLDER"),
  ],
)
def test_what_is_missing_is_named(name, words, hub: Hub, tmp_path, monkeypatch):
  use_here(hub, monkeypatch, tmp_path)
  repository = hub.repositories["own/model"]
  repository.push(SMALL | {"pytorch_model.bin": b"pickle"}, "bin")
  repository.push({name: data for name, data in WHOLE.items() if "00002-of" not in name}, "part")
  repository.push({"README.md": b"#"}, "data")
  weight_map = {"weight_map": {"a": "pytorch_model.bin"}}
  index = {"model.safetensors.index.json": json.dumps(weight_map).encode(), "pytorch_model.bin": b"pickle"}
  repository.push(SMALL | index, "pickle")
  with pytest.raises(InputError) as error:
    model_folder(name)
  assert words in str(error.value) and "\n" not in str(error.value)
  assert not list(tmp_path.rglob("*.bin")) and "pytorch_model.bin" not in hub.fetched()


def test_a_broken_connection_is_tried_again(hub: Hub, tmp_path):
  hub.repositories["own/model"].push(WHOLE)
  broken = "model-00002-of-00002.safetensors"
  hub.cut[broken] = 100_000
  assert fetched(hub.call(tmp_path, "own/model")) == WHOLE
  assert hub.fetched().count(broken) == 2


def test_an_interrupted_download_is_finished_by_the_next_start(hub: Hub, tmp_path):
  """Complete files are kept. huggingface_hub deletes a half file, so that one is fetched again."""
  hub.repositories["own/model"].push(WHOLE)
  broken = "model-00002-of-00002.safetensors"
  hub.cut[broken], hub.fails_after_cut = 100_000, True
  said = refused(hub.call(tmp_path, "own/model"))
  assert "own/model" in said and "complete files are kept, and the same command fetches the rest" in said
  done, hub.status = set(hub.fetched()) - {broken}, 0
  assert done >= SMALL.keys()
  assert fetched(hub.call(tmp_path, "own/model")) == WHOLE
  assert not set(hub.fetched()) & done - SHARDS.keys() and not list(tmp_path.rglob("*.incomplete"))


def test_offline_the_cached_copy_is_used_and_named(hub: Hub, tmp_path):
  repository = hub.repositories["own/model"]
  commit = repository.push(WHOLE)
  assert "HF_HUB_OFFLINE is set" in refused(hub.call(tmp_path, "own/model", HF_HUB_OFFLINE="1"))
  hub.call(tmp_path, "own/model")
  hub.requests.clear()
  done = hub.call(tmp_path, "own/model", HF_HUB_OFFLINE="1")
  assert fetched(done) == WHOLE and hub.requests == []
  words = f"HF_HUB_OFFLINE is set: using the cached own/model, commit {commit}"
  assert re.fullmatch(rf"[\d:]{{8}} {words}\n", done.stderr)
  missing = refused(hub.call(tmp_path, "own/model@v2", HF_HUB_OFFLINE="1"))
  assert f"own/model@v2: HF_HUB_OFFLINE is set and {tmp_path}/hub has no complete copy: unset it" in missing
  next(tmp_path.rglob("model-00002*")).unlink()
  assert "has no complete copy" in refused(hub.call(tmp_path, "own/model", HF_HUB_OFFLINE="1"))


def test_without_a_network_the_cached_copy_is_used_and_named(hub: Hub, tmp_path):
  commit = hub.repositories["own/model"].push(WHOLE)
  hub.call(tmp_path, "own/model")
  gone = {"HF_ENDPOINT": "http://127.0.0.1:9"}
  done = hub.call(tmp_path, "own/model", **gone)
  assert fetched(done) == WHOLE and done.stderr.count("\n") == 1
  assert "the hub cannot be reached" in done.stderr and f"using the cached own/model, commit {commit}" in done.stderr
  said = refused(hub.call(tmp_path / "new", "own/model", **gone))
  assert "own/model: the hub cannot be reached and there is no complete cached copy" in said
  done = hub.call(tmp_path, f"own/model@{commit}", **gone)  # a commit never changes, so nothing has to be asked
  assert fetched(done) == WHOLE and done.stderr == ""


def test_a_local_folder_of_the_name_wins(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert hub_model("own/model") == HubModel("own/model", "")
  assert hub_model("own/model@refs/pr/3") == HubModel("own/model", "refs/pr/3")
  folder = tmp_path / "own" / "model"
  folder.mkdir(parents=True)
  assert hub_model("own/model") is None and model_folder("own/model") == Path("own/model")
  assert hub_model("own/model@main") == HubModel("own/model", "main")  # names the hub all the same
  names = [model_name(path) for path in ("own/model", "own/model@main", "gs://bucket/a/b", "own", ".")]
  assert names == ["model", "model", "b", "own", tmp_path.name]
  shutil.rmtree(folder)
  for path in ("/no/such/folder", "no-such", "./own/model", "a b/c", "own/.model", f"own/{'x' * 97}"):
    with pytest.raises(InputError, match=r"config\.json: no such file, expected a local folder, owner/name"):
      model_folder(path)
