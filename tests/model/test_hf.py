"""Import and export of Hugging Face folders, in every form of the released ones and with every possible error."""

import json
import shutil

import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from srpo_jax.model import hf, hf_export, transformer
from srpo_jax.model.safetensors_writer import write_safetensors
from srpo_jax.training.stored_params import StoredParams
from srpo_jax.utils.errors import InputError
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.sharded import digest, on_eight_devices


def logits(folder):
  config = hf.read_config(folder)
  tokens = np.arange(40, 51, dtype=np.int32)[None]
  positions = np.arange(11, dtype=np.int32)[None]
  hidden = transformer.forward(hf.load_params(folder, config), config, tokens, positions, np.ones_like(tokens))
  return np.asarray(transformer.logits(hf.load_params(folder, config), hidden))[0]


def theirs(folder):
  model = transformers.Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
  with torch.no_grad():
    return model(torch.arange(40, 51)[None]).logits.numpy()[0]


def copy(checkpoint, tmp_path, **changes):
  """Returns a copy of a checkpoint with changes in its config.json. None removes a field."""
  folder = tmp_path / "copy"
  shutil.copytree(checkpoint, folder)
  raw = json.loads((folder / "config.json").read_text()) | changes
  (folder / "config.json").write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))
  return folder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shard", ["5GB", "60KB"])
def test_load_and_round_trip(tmp_path, tied, dtype, shard):
  """Loading gives the logits of transformers, and an export gives the stored tensors back bit for bit."""
  folder = make_checkpoint(tmp_path / "in", dtype=dtype, tie_word_embeddings=tied, seed=1)
  if shard != "5GB":
    transformers.Qwen2ForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size=shard)
    (folder / hf.SINGLE_FILE).unlink()
    assert len(list(folder.glob("*.safetensors"))) >= 2 and (folder / hf.INDEX_FILE).exists()
  np.testing.assert_allclose(logits(folder), theirs(folder), atol=1e-4)

  config = hf.read_config(folder)
  hf_export.save_params(hf.load_params(folder, config), config, tmp_path / "out", source=folder, max_shard_bytes=60_000)
  stored, again = (
    {k: v for file in sorted(f.glob("*.safetensors")) for k, v in load_file(file).items()}
    for f in (folder, tmp_path / "out")
  )
  assert stored.keys() == again.keys()
  for name, tensor in stored.items():
    assert again[name].dtype == tensor.dtype == getattr(torch, dtype)
    assert torch.equal(again[name], tensor), name
  for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
    assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
  np.testing.assert_allclose(theirs(tmp_path / "out"), theirs(folder), atol=1e-5)
  assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").eos_token == "<|endoftext|>"


def sharded_copy(checkpoint, folder, size="60KB"):
  """Copies a checkpoint and lets transformers split its weights into several files."""
  shutil.copytree(checkpoint, folder)
  transformers.Qwen2ForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size=size)
  (folder / hf.SINGLE_FILE).unlink()
  return folder


def test_weights_are_written_as_the_library_writes_them(checkpoint, tmp_path):
  """An export writes the same bytes into the same files, following the base's own index."""
  folder = sharded_copy(checkpoint, tmp_path / "in")
  for file in folder.glob("*.safetensors"):  # transformers writes the names in no fixed order
    save_file(load_file(file), file, metadata={"format": "pt"})
  config = hf.read_config(folder)
  hf_export.save_params(hf.load_params(folder, config), config, tmp_path / "out", source=folder)
  names = {f.name for f in folder.iterdir()}
  assert {f.name for f in (tmp_path / "out").iterdir()} == names - {"merges.txt"} and len(names) > 5
  for file in (tmp_path / "out").iterdir():
    assert file.read_bytes() == (folder / file.name).read_bytes(), file.name
  # If the index lists other tensors than the model has, or another dtype is asked for, files are split by size.
  index = json.loads((folder / hf.INDEX_FILE).read_text())
  index["weight_map"]["lm_head.weight"] = index["weight_map"]["model.norm.weight"]
  (folder / hf.INDEX_FILE).write_text(json.dumps(index))
  params = hf.load_params(checkpoint, config)
  hf_export.save_params(params, config, tmp_path / "one", source=folder)
  assert load_file(tmp_path / "one" / hf.SINGLE_FILE).keys() == load_file(checkpoint / hf.SINGLE_FILE).keys()


def test_a_failed_export_leaves_nothing(checkpoint, tmp_path):
  config, seen = hf.read_config(checkpoint), []

  def read(slot):
    seen.append(sorted(f.name for f in tmp_path.iterdir()))
    if len(seen) > 5:
      raise OSError("the disk is full")
    yield np.zeros(slot.shape, np.float32)

  with pytest.raises(OSError, match="full"):
    hf_export.save_weights(read, config, tmp_path / "out", source=checkpoint)
  assert len(seen) == 6 and not any("out" in names for names in seen)  # a kill would leave no folder of that name
  assert list(tmp_path.iterdir()) == []


def test_a_block_of_another_shape_is_refused(tmp_path):
  for blocks in ([np.zeros((2, 3), "f4")], [np.zeros((3, 2), "f4")], [np.zeros((3, 3), "f2")]):
    with pytest.raises(ValueError, match="a: "):
      write_safetensors(tmp_path / "x", {"a": (3, 3)}, "float32", lambda _, blocks=blocks: blocks)


@pytest.mark.slow
def test_a_host_reads_what_its_devices_hold_and_every_mesh_the_same_bits(tmp_path):
  """Eight devices together read each stored byte once. Their checkpoint exports like that of one device."""
  shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False, "vocab_size": 520}
  folder = make_checkpoint(tmp_path / "model", dtype="bfloat16", hidden_size=64, intermediate_size=96, **shape)
  folder = sharded_copy(folder, tmp_path / "sharded")
  config = hf.read_config(folder)
  params = hf.load_params(folder, config)
  stored = {name: tensor.nbytes for f in folder.glob("*.safetensors") for name, tensor in load_file(f).items()}
  expected = {"digest": digest(params), "twice": 0}
  meshes = [(1, 4, 2), (2, 2, 2), (1, 2, 4)]
  found = on_eight_devices("weights", model=str(folder), shapes=meshes, folder=str(tmp_path / "run"))
  for mesh, got in zip(meshes, found, strict=True):
    # Key and value heads are copied if they are fewer than the devices along `tensor`. Each part is still read once.
    assert got == expected | {"bytes": sum(stored.values())}, mesh
  for step in (1, 2, 3):
    kept = StoredParams(tmp_path / "run" / "checkpoints" / str(step) / "params", hf.param_shapes(config))
    hf_export.save_weights(kept.read, config, tmp_path / str(step), source=folder)
    for file in folder.glob("*.safetensors"):
      assert load_file(tmp_path / str(step) / file.name).keys() == load_file(file).keys()
      for name, tensor in load_file(tmp_path / str(step) / file.name).items():
        assert torch.equal(tensor, load_file(file)[name]), name


def test_a_part_of_a_joined_axis_is_refused(checkpoint):
  slot = hf.read_family(checkpoint).tensors(hf.read_config(checkpoint))["model.layers.0.self_attn.q_proj.weight"]
  assert slot.shape == (48, 4, 12)
  assert slot.stored_part((range(48), range(1, 3), range(12))) == (range(12, 36), range(48))
  with pytest.raises(ValueError, match="cuts an axis"):
    slot.stored_part((range(48), range(4), range(6)))


def test_export_in_another_dtype_says_so(checkpoint, tmp_path):
  config = hf.read_config(checkpoint)
  hf_export.save_params(hf.load_params(checkpoint, config), config, tmp_path / "o", source=checkpoint, dtype="bfloat16")
  assert hf.stored_dtype(tmp_path / "o") == "bfloat16"
  assert {t.dtype for t in load_file(tmp_path / "o" / hf.SINGLE_FILE).values()} == {torch.bfloat16}


def test_export_overwrites_nothing(checkpoint, tmp_path):
  (tmp_path / "kept").write_text("x")
  config = hf.read_config(checkpoint)
  with pytest.raises(InputError, match="not an empty folder"):
    hf_export.save_params(hf.load_params(checkpoint, config), config, tmp_path, source=checkpoint)
  assert [f.name for f in tmp_path.iterdir()] == ["kept"]


def test_export_of_a_base_without_a_dtype_needs_one(checkpoint, tmp_path):
  source = copy(checkpoint, tmp_path, dtype="auto")
  config = hf.read_config(source)
  params = hf.load_params(source, config)
  with pytest.raises(InputError, match="dtype is 'auto'"):
    hf_export.save_params(params, config, tmp_path / "out", source=source)
  hf_export.save_params(params, config, tmp_path / "out", source=source, dtype="float32")
  assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.parametrize("form", ["flat", "nested"])
def test_rope_theta_in_both_places(checkpoint, tmp_path, form):
  flat = {"rope_theta": 12345.0, "rope_parameters": None}
  nested = {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 12345.0}}
  folder = copy(checkpoint, tmp_path, **(flat if form == "flat" else nested))
  assert hf.read_config(folder).rope_theta == 12345.0
  assert np.abs(logits(folder) - logits(checkpoint)).max() > 1e-3


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"rope_theta": None, "rope_parameters": None}, "rope_theta"),
    ({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e6}}, "rope_theta is 10000.0, and 1000000.0"),
    ({"rope_scaling": {"type": "default"}, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
    ({"model_type": "mistral"}, "model_type is 'mistral', expected one of llama, qwen2, qwen3"),
    ({"hidden_act": "gelu"}, "hidden_act"),
    ({"use_sliding_window": True}, "use_sliding_window"),
    ({"hidden_size": None}, "hidden_size"),
    ({"num_hidden_layers": 0}, "num_hidden_layers"),
    ({"num_hidden_layers": float("inf")}, "num_hidden_layers"),
    ({"hidden_size": 48.5}, "hidden_size"),
    ({"rope_theta": "abc"}, "rope_theta"),
    ({"rope_theta": -1.0}, "rope_theta"),
    ({"rope_parameters": [1]}, "rope_parameters"),
    ({"num_key_value_heads": 3}, "num_key_value_heads"),
  ],
)
def test_configs_that_are_refused(checkpoint, tmp_path, changes, words):
  with pytest.raises(InputError, match=words):
    hf.read_config(copy(checkpoint, tmp_path, **changes))


def test_no_config_and_no_weights(tmp_path, checkpoint):
  with pytest.raises(InputError, match=r"config\.json: no such file"):
    hf.read_config(tmp_path)
  folder = copy(checkpoint, tmp_path)
  (folder / hf.SINGLE_FILE).unlink()
  with pytest.raises(InputError, match=r"no model\.safetensors"):
    hf.load_params(folder, hf.read_config(folder))
  (folder / hf.SINGLE_FILE).write_bytes(b"nonsense")
  with pytest.raises(InputError, match="not a readable safetensors file"):
    hf.load_params(folder, hf.read_config(folder))


@pytest.mark.parametrize("kind", ["not in the index", "in another file than the index says"])
def test_a_shard_and_its_index_must_agree(checkpoint, tmp_path, kind):
  """A tensor that the index does not place in a shard is refused."""
  folder = copy(checkpoint, tmp_path)
  tensors = load_file(folder / hf.SINGLE_FILE)
  names = list(tensors)
  half = {n: "a.safetensors" if n in names[:9] else "b.safetensors" for n in names}
  for file in ("a.safetensors", "b.safetensors"):
    save_file({n: tensors[n] for n in names if half[n] == file}, folder / file)
  (folder / hf.SINGLE_FILE).unlink()
  (folder / hf.INDEX_FILE).write_text(json.dumps({"weight_map": half}))
  np.testing.assert_array_equal(logits(folder), logits(checkpoint))
  extra = "model.extra.weight" if kind == "not in the index" else names[0]
  save_file({n: tensors[n] for n in names[9:]} | {extra: torch.zeros(2)}, folder / "b.safetensors")
  with pytest.raises(InputError, match=rf"b\.safetensors: tensor {extra}"):
    hf.load_params(folder, hf.read_config(folder))


@pytest.mark.parametrize("kind", ["unknown", "missing", "shape", "dtype", "untied head"])
def test_a_wrong_tensor_is_named(checkpoint, tmp_path, kind, monkeypatch):
  folder = copy(checkpoint, tmp_path)
  tensors = load_file(folder / hf.SINGLE_FILE)
  name = "model.layers.1.self_attn.k_proj.bias"
  if kind == "unknown":
    name = "model.layers.7.self_attn.k_proj.bias"
    tensors[name] = torch.zeros(3)
  elif kind == "missing":
    del tensors[name]
  elif kind == "shape":
    tensors[name] = torch.zeros(5)
  elif kind == "dtype":
    tensors[name] = torch.zeros(24, dtype=torch.int8)
  else:
    name = "lm_head.weight"
    tensors[name] = tensors["model.embed_tokens.weight"] + 1
  save_file(tensors, folder / hf.SINGLE_FILE, metadata={"format": "pt"})
  if kind != "untied head":  # only this check reads weights; all others fail before gigabytes are read
    monkeypatch.setattr(hf, "_read", lambda *_: pytest.fail("a weight was read"))
  with pytest.raises(InputError) as error:
    hf.load_params(folder, hf.read_config(folder))
  assert name in str(error.value) and "\n" not in str(error.value)
  if kind == "shape":
    assert "[5]" in str(error.value) and "[24]" in str(error.value)


def test_a_repeated_tied_head_is_accepted(checkpoint, tmp_path):
  folder = copy(checkpoint, tmp_path)
  tensors = load_file(folder / hf.SINGLE_FILE)
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
  save_file(tensors, folder / hf.SINGLE_FILE, metadata={"format": "pt"})
  np.testing.assert_array_equal(logits(folder), logits(checkpoint))


def test_index_that_names_a_file_or_tensor_that_is_not_there(checkpoint, tmp_path):
  folder = copy(checkpoint, tmp_path)
  names = load_file(folder / hf.SINGLE_FILE)
  weight_map = dict.fromkeys([*names, "model.extra"], hf.SINGLE_FILE)
  (folder / hf.INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))
  with pytest.raises(InputError, match=r"model\.extra"):
    hf.weight_files(folder)
  (folder / hf.INDEX_FILE).write_text(json.dumps({"weight_map": dict.fromkeys(names, "gone.safetensors")}))
  with pytest.raises(InputError, match=r"gone\.safetensors: no such file"):
    hf.weight_files(folder)


def test_one_file_beside_an_index_of_others_is_refused(checkpoint, tmp_path):
  """transformers reads the one file, but the index may name another model's weights or only a part of these."""
  folder = copy(checkpoint, tmp_path)
  shutil.copy(folder / hf.SINGLE_FILE, folder / "model-00001-of-00001.safetensors")
  weight_map = dict.fromkeys(load_file(folder / hf.SINGLE_FILE), "model-00001-of-00001.safetensors")
  (folder / hf.INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))
  with pytest.raises(InputError, match="expected one model's weights"):
    hf.load_params(folder, hf.read_config(folder))
  (folder / hf.SINGLE_FILE).unlink()
  np.testing.assert_array_equal(logits(folder), logits(checkpoint))


def test_our_random_parameters_have_the_loaded_shape(checkpoint):
  config = hf.read_config(checkpoint)
  ours, loaded = transformer.init_params(config, jax.random.key(0)), hf.load_params(checkpoint, config)
  assert jax.tree.map(lambda x: x.shape, ours) == jax.tree.map(lambda x: x.shape, loaded)
