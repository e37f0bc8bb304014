"""Reads the configs of every family, compares them with transformers, and takes folders through import and export."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from srpo_jax.model import hf, hf_export, transformer
from srpo_jax.model.families.registry import FAMILIES
from srpo_jax.model.sharding import MESH_AXES, param_shardings
from srpo_jax.model.transformer import RopeScaling
from srpo_jax.utils.errors import InputError
from tests.helpers.checkpoints import LLAMA3, make_checkpoint

NEW = ("qwen3", "llama")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """A small checkpoint of each family."""
  return {name: make_checkpoint(tmp_path_factory.mktemp(name), family=name, seed=5, std=0.3) for name in FAMILIES}


def config_of(folder: Path, tmp_path: Path, **changes) -> Path:
  """Copies only config.json, with changes. None removes a field."""
  raw = json.loads((folder / "config.json").read_text()) | changes
  (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))
  return tmp_path


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "tied"), [("float32", True), ("bfloat16", False)])
def test_an_exported_folder_is_the_imported_one(tmp_path, family, dtype, tied):
  """Every file is the same byte for byte, and transformers generates the same text from it."""
  folder = make_checkpoint(tmp_path / "in", family=family, dtype=dtype, tie_word_embeddings=tied, seed=1, std=0.3)
  (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
  save_file(load_file(folder / hf.SINGLE_FILE), folder / hf.SINGLE_FILE, metadata={"format": "pt"})
  config = hf.read_config(folder)
  hf_export.save_params(hf.load_params(folder, config), config, tmp_path / "out", source=folder)
  names = {file.name for file in folder.iterdir()}
  assert {"config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json"} < names
  for file in (tmp_path / "out").iterdir():
    assert file.read_bytes() == (folder / file.name).read_bytes(), file.name
  assert names == {file.name for file in (tmp_path / "out").iterdir()}
  assert greedy(tmp_path / "out") == greedy(folder)


def greedy(folder: Path) -> list[int]:
  model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
  with torch.no_grad():
    found = model.generate(torch.arange(40, 51)[None], max_new_tokens=12, do_sample=False, eos_token_id=None)
  assert found.shape == (1, 23)
  return found[0].tolist()


def test_norms_of_heads_are_copied_to_every_device(folders):
  shapes = hf.param_shapes(hf.read_config(folders["qwen3"]))
  found = param_shardings(shapes, jax.sharding.AbstractMesh((1, 2, 4), MESH_AXES))["layers"]
  for name in ("q_norm", "k_norm"):
    assert shapes["layers"][name]["weight"].shape == (2, 16)
    assert found[name]["weight"].spec == jax.sharding.PartitionSpec(None, None)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tensor_of_another_family_is_named(folders, tmp_path, family):
  other = {"qwen2": "q_norm.weight", "qwen3": "q_proj.bias", "llama": "q_proj.bias"}[family]
  folder = shutil.copytree(folders[family], tmp_path / "copy")
  tensors = load_file(folder / hf.SINGLE_FILE)
  save_file(tensors | {f"model.layers.0.self_attn.{other}": torch.zeros(16)}, folder / hf.SINGLE_FILE)
  with pytest.raises(
    InputError, match=f"unknown tensor .*{other}, expected only tensors of {family.title()}ForCausalLM"
  ):
    hf.load_params(folder, hf.read_config(folder))
  missing = next(name for name in tensors if name.endswith(("q_norm.weight", "k_proj.bias", "q_proj.weight")))
  save_file({name: tensor for name, tensor in tensors.items() if name != missing}, folder / hf.SINGLE_FILE)
  with pytest.raises(InputError, match=f"missing tensor {missing}"):
    hf.load_params(folder, hf.read_config(folder))


def test_stored_rotary_frequencies_of_old_llama_folders_are_skipped(folders, tmp_path):
  folder = shutil.copytree(folders["llama"], tmp_path / "copy")
  tensors = load_file(folder / hf.SINGLE_FILE)
  old = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(6) for layer in range(2)}
  save_file(tensors | old, folder / hf.SINGLE_FILE)
  config = hf.read_config(folder)
  jax.tree.map(np.testing.assert_array_equal, hf.load_params(folder, config), hf.load_params(folders["llama"], config))


WITHOUT_CONTEXT = {key: value for key, value in LLAMA3.items() if key != "original_max_position_embeddings"}
FLAT = {"rope_theta": 5e5, "rope_parameters": None}
NESTED = {"rope_theta": None}


@pytest.mark.parametrize(
  "changes",
  [
    FLAT | {"rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    FLAT | {"rope_scaling": {"type": "llama3", **LLAMA3}},
    FLAT | {"rope_scaling": {"type": "llama3", "rope_type": "llama3", **LLAMA3}},
    FLAT | {"rope_scaling": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
    NESTED | {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
    NESTED
    | {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500_000, "partial_rotary_factor": 1.0, **LLAMA3}},
    {"rope_theta": 5e5, "rope_parameters": {"rope_theta": 5e5}, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    {  # both forms, as a folder has that serves old and new readers
      "rope_theta": 5e5,
      "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3},
      "rope_scaling": {"rope_type": "llama3", **LLAMA3},
    },
    FLAT | {"max_position_embeddings": 64, "rope_scaling": {"rope_type": "llama3", **WITHOUT_CONTEXT}},
  ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_scaled_positions_in_every_form(folders, tmp_path, family, changes):
  folder = config_of(folders[family], tmp_path, **changes)
  found = hf.read_config(folder)
  assert (found.rope_theta, found.rope_scaling) == (5e5, RopeScaling(8.0, 1.0, 4.0, 64))
  with_theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder))
  ours = transformer.rope_frequencies(found.head_dim, found.rope_theta, found.rope_scaling)
  np.testing.assert_allclose(ours, with_theirs.model.rotary_emb.inv_freq.numpy(), rtol=1e-6)


def test_defaults_are_those_of_transformers(folders, tmp_path):
  """Fields that the classes of transformers fill in when config.json has none."""
  left_out = dict.fromkeys(("head_dim", "rms_norm_eps", "tie_word_embeddings", "hidden_act", "layer_types"))
  for family, folder in folders.items():
    kv_heads = {"num_key_value_heads": None} if family == "llama" else {}
    found = hf.read_config(config_of(folder, tmp_path, **left_out, **kv_heads))
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    head_dim = getattr(theirs, "head_dim", theirs.hidden_size // theirs.num_attention_heads)
    assert (found.head_dim, found.num_key_value_heads) == (head_dim, theirs.num_key_value_heads)
    assert (found.rms_norm_eps, found.tie_word_embeddings) == (theirs.rms_norm_eps, theirs.tie_word_embeddings)


def test_harmless_fields_are_read_over(folders, tmp_path):
  harmless = {
    "rope_scaling": None,
    "attention_dropout": 0.0,
    "initializer_range": 0.04,
    "is_llama_config": True,
    "pretraining_tp": 1,
    "rope_interleaved": False,
    "use_mrope": False,
    "sliding_window": 4096,
    "use_sliding_window": False,
    "max_window_layers": 28,
    "attention_bias": False,
    "mlp_bias": False,
    "layer_types": ["full_attention"] * 2,
    "quantization_config": {},
    "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
    "unsloth_fixed": True,
  }
  for folder in folders.values():
    assert hf.read_config(config_of(folder, tmp_path, **harmless)) == hf.read_config(folder)


def scaled(**changes):
  return {"rope_theta": 1e4, "rope_parameters": None, "rope_scaling": {"rope_type": "llama3", **LLAMA3} | changes}


REFUSED = [
  *[({"rope_theta": 1e4, "rope_scaling": {"type": kind, "factor": 2.0}}, kind) for kind in ("yarn", "linear")],
  *[({"rope_parameters": {"rope_type": kind, "rope_theta": 1e4}}, kind) for kind in ("dynamic", "longrope", "mrope")],
  ({"rope_parameters": {"rope_type": ["llama3"], "rope_theta": 1e4}}, "rope type is"),
  (scaled(type="linear"), "rope type is 'llama3', and 'linear' in rope_scaling"),
  (scaled(factor=None), "factor is None for rope type 'llama3', expected a positive number"),
  (scaled(factor="8"), "factor is '8'"),
  (scaled(low_freq_factor=0), "low_freq_factor is 0"),
  (scaled(high_freq_factor=1.0), "high_freq_factor is 1.0, expected more than low_freq_factor 1.0"),
  (scaled(original_max_position_embeddings=0), "original_max_position_embeddings is 0"),
  (scaled(original_max_position_embeddings=64.5), "original_max_position_embeddings is 64.5"),
  (scaled(attention_factor=1.2), "rope_scaling.attention_factor is 1.2"),
  (scaled(rope_theta=5e5), "rope_theta is 10000.0, and 500000.0 in rope_scaling"),
  (scaled() | {"original_max_position_embeddings": 128}, "original_max_position_embeddings is 128, and 64"),
  (scaled() | {"rope_parameters": {"rope_type": "default"}}, "rope type is 'default', and 'llama3' in rope_scaling"),
  (
    scaled() | {"rope_parameters": {"rope_type": "llama3", **LLAMA3, "factor": 4.0}},
    "factor is 4.0, and 8.0 in rope_scaling",
  ),
  ({"rope_theta": 1e4, "rope_parameters": None, "rope_scaling": {"factor": 2.0}}, "rope_scaling.factor is 2.0"),
  ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}, "rope_theta": 1e4}, "rope_parameters.full_attention"),
  ({"rope_theta": None, "rope_parameters": None}, "no rope_theta"),
  ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
  ({"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 1e4}}, "rope_parameters.partial_rotary_factor"),
  ({"rope_interleaved": True}, "rope_interleaved is True, expected False"),
  ({"mlp_bias": True}, "mlp_bias is True"),
  ({"hidden_act": "gelu"}, "hidden_act is 'gelu', expected 'silu'"),
  ({"use_sliding_window": True, "sliding_window": 128}, "use_sliding_window is True"),
  ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types is 'sliding_attention'"),
  ({"dual_chunk_attention_config": {"chunk_size": 8}}, "dual_chunk_attention_config"),
  ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config is"),
  ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
  ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
  ({"logits_scaling": 8.0}, "logits_scaling is 8.0"),
  ({"embedding_multiplier": 12.0}, "embedding_multiplier is 12.0"),
  ({"num_experts": 8}, "num_experts is 8"),
  ({"is_causal": False}, "is_causal is False"),
  ({"head_dim": 7}, "head_dim is 7, expected an even number"),
  ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes', expected true or false"),
  ({"architectures": ["RewardModel"]}, r"architectures is \['RewardModel'\]"),
  ({"auto_map": {"AutoModelForCausalLM": "own.Model"}}, "auto_map is"),
  *[({"model_type": kind}, f"'{kind}', expected one of llama, qwen2, qwen3") for kind in ("qwen3_moe", "mistral")],
  ({"model_type": None}, "model_type is None"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_fields_that_no_family_computes_are_refused_by_name(folders, tmp_path, changes, words):
  for folder in folders.values():
    with pytest.raises(InputError, match=words) as error:
      hf.read_config(config_of(folder, tmp_path, **changes))
    assert str(tmp_path / "config.json") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("family", "changes", "words"),
  [
    ("llama", {"attention_bias": True}, "attention_bias is True, expected False"),
    ("qwen3", {"attention_bias": True}, "attention_bias is True, expected False"),
    ("llama", {"sliding_window": 4096}, "sliding_window is 4096, expected null"),
    ("llama", {"use_qk_norm": True}, "use_qk_norm is True, expected False"),
    ("qwen3", {"use_qk_norm": False}, "use_qk_norm is False, expected True"),
    ("qwen2", {"num_key_value_heads": None}, "num_key_value_heads is None"),
    ("qwen3", {"num_key_value_heads": None}, "num_key_value_heads is None"),
  ],
)
def test_fields_that_one_family_refuses(folders, tmp_path, family, changes, words):
  with pytest.raises(InputError, match=words):
    hf.read_config(config_of(folders[family], tmp_path, **changes))
