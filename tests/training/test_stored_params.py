"""Tests that checkpoints read one layer at a time are what was saved, and what reading them costs."""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from srpo_jax import export
from srpo_jax.config import to_json
from srpo_jax.model import hf
from srpo_jax.model.files import COMPANION_FILES
from srpo_jax.training import checkpoint as checkpoint_module
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.export import load_policy
from srpo_jax.training.learner import TrainState
from srpo_jax.training.stored_params import StoredParams
from srpo_jax.utils.errors import InputError
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.runs import toy

LAYERS = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory):
  """Untied model with large arrays of a few megabytes, whose values do not compress."""
  folder = tmp_path_factory.mktemp("base")
  shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": LAYERS, "vocab_size": 40_000}
  return make_checkpoint(folder, tie_word_embeddings=False, **shape)


def save(base, workdir):
  """Writes the workdir of a run with random parameters as its step 3. Returns the parameters and the model's config."""
  config = hf.read_config(base)
  (workdir / "model").mkdir(parents=True)
  (workdir / "config.json").write_text(to_json(toy(base)))
  for name in COMPANION_FILES:
    if (base / name).is_file():
      (workdir / "model" / name).write_bytes((base / name).read_bytes())
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape, np.float32)), hf.param_shapes(config))
  checkpoints = Checkpoints(workdir)
  checkpoints.save(3, TrainState(params, {"count": jnp.zeros((), jnp.int32)}), {})
  checkpoints.close()
  return params, config


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "r"
  return workdir, *save(base, workdir)


def folder_of(workdir):
  return workdir / "checkpoints" / "3" / "params"


def test_a_layer_costs_its_own_bytes(base, saved):
  workdir, params, config = saved
  stored = StoredParams(folder_of(workdir), hf.param_shapes(config))
  slot = hf.read_family(base).tensors(config)["model.layers.4.mlp.up_proj.weight"]
  own = 4 * math.prod(slot.shape)
  assert own >= 2**19
  before = stored.bytes_read
  (layer,) = stored.read(slot)
  np.testing.assert_array_equal(layer, params["layers"]["up_kernel"][4])
  # Some bits of the mantissa compress a little. A layer that does not compress costs all of its bytes.
  assert 0.8 * own < stored.bytes_read - before < 1.2 * own


def test_small_arrays_are_one_chunk_and_none_is_longer_than_the_limit(saved):
  workdir, params, _ = saved
  found = json.loads((folder_of(workdir) / "array_metadatas" / "process_0").read_text())["array_metadatas"]
  chunks = {array["array_metadata"]["param_name"]: array["array_metadata"]["chunk_shape"] for array in found}
  assert chunks["layers.up_kernel"] == [1, 256, 512] and chunks["layers.mlp_norm.weight"] == [LAYERS, 256]
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    size = 4 * math.prod(chunks[".".join(key.key for key in path)])
    assert min(leaf.nbytes, checkpoint_module.LAYER_BYTES) <= size <= checkpoint_module.CHUNK_BYTES, path
  assert chunks["embed"] == [20_000, 256] and chunks["head"] == [256, 20_000]


def test_an_export_reads_the_checkpoint_once_and_holds_a_tensor(saved, tmp_path, capsys, monkeypatch):
  workdir, params, config = saved
  largest, read = [], StoredParams.read

  def watched(self, slot):
    for part in read(self, slot):
      largest.append(part.nbytes)
      yield part

  monkeypatch.setattr(StoredParams, "read", watched)
  export.main(["--workdir", str(workdir), "--out", str(tmp_path / "out")])
  text = capsys.readouterr().out
  got, size = (int(n.replace(",", "")) for n in re.search(r"read ([\d,]+) bytes .* for ([\d,]+) bytes", text).groups())
  assert size == sum(leaf.nbytes for leaf in jax.tree.leaves(params)) and got < 1.2 * size
  assert max(largest) < params["embed"].nbytes < size / 2
  jax.tree.map(np.testing.assert_array_equal, hf.load_params(tmp_path / "out", config), params)


def test_a_checkpoint_that_was_not_cut_by_layer_is_read_too(base, saved, tmp_path, monkeypatch, caplog):
  """Earlier versions wrote such checkpoints."""
  _, params, config = saved
  monkeypatch.setattr(checkpoint_module, "_chunks", lambda *_: ocp.SaveArgs())
  monkeypatch.setattr("srpo_jax.training.stored_params.KEPT_BYTES", 2**19)
  save(base, tmp_path / "old")
  (chunk,) = re.findall(r'"layers.up_kernel".*?"chunk_shape": \[(\d+)', (
    folder_of(tmp_path / "old") / "array_metadatas" / "process_0").read_text())  # fmt: skip
  assert int(chunk) == LAYERS
  export.main(["--workdir", str(tmp_path / "old"), "--out", str(tmp_path / "out")])
  assert "layers.up_kernel is not stored by layer" in caplog.text and "norm" not in caplog.text
  jax.tree.map(np.testing.assert_array_equal, hf.load_params(tmp_path / "out", config), params)
  restored, _, step = load_policy(tmp_path / "old")
  assert step == 3
  jax.tree.map(np.testing.assert_array_equal, restored, params)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"hidden_size": 128}, r"embed is float32\[40000, 256\], expected float32\[40000, 128\]"),
    ({"tie_word_embeddings": True}, "head is only in the checkpoint"),
    ({"num_hidden_layers": 5}, r"expected float32\[5, "),
  ],
)
def test_a_checkpoint_of_another_model_is_refused(saved, tmp_path, change, words):
  workdir, _, _ = saved
  copy = tmp_path / "r"
  (copy / "model").mkdir(parents=True)
  (copy / "config.json").write_bytes((workdir / "config.json").read_bytes())
  (copy / "checkpoints").symlink_to(workdir / "checkpoints")
  raw = json.loads((workdir / "model" / "config.json").read_text()) | change
  (copy / "model" / "config.json").write_text(json.dumps(raw))
  with pytest.raises(InputError, match=words):
    export.main(["--workdir", str(copy), "--out", str(tmp_path / "out")])
  assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_named(base, tmp_path):
  save(base, tmp_path / "r")
  for file in (folder_of(tmp_path / "r") / "d").iterdir():
    file.write_bytes(b"")
  args = ["--workdir", str(tmp_path / "r"), "--out", str(tmp_path / "out")]
  with pytest.raises(InputError, match=r"checkpoints/3/params: \w+ cannot be read"):
    export.main(args)
  assert not (tmp_path / "out").exists()


def test_an_out_on_gs_is_refused(saved):
  with pytest.raises(InputError, match="expected a local folder"):
    export.main(["--workdir", str(saved[0]), "--out", "gs://bucket/x"])
