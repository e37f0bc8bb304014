"""A GGUF becomes the Hugging Face folder that transformers' own GGUF loader stands for."""

import json

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed (the extra demo)")

import torch  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import LlamaForCausalLM  # noqa: E402

from srpo_jax.model.gguf_import import convert, halves_apart  # noqa: E402
from srpo_jax.utils.errors import InputError  # noqa: E402
from tests.helpers.gguf_models import HEADS, LAYERS, make_tensors, pairs_together, write_gguf  # noqa: E402

SOURCE = "a small Llama, 4-bit GGUF, dequantised"


def converted(folder, **options):
  """Writes a GGUF to `folder` and returns its file and its Hugging Face folder."""
  file = write_gguf(folder / "model.gguf", make_tensors(), **options)
  out = folder / "hf"
  out.mkdir()
  convert(file, out, source=SOURCE)
  return file, out


def test_unquantised_weights_keep_their_bits(tmp_path):
  _, folder = converted(tmp_path, quantised=False)
  stored, made = load_file(folder / "model.safetensors"), make_tensors()
  assert len(stored) == len(made) == 2 + 9 * LAYERS
  np.testing.assert_array_equal(stored["model.embed_tokens.weight"], made["token_embd.weight"])
  for layer in range(LAYERS):
    prefix = f"model.layers.{layer}"
    for name, kind in {
      "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
      "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
      "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }.items():  # fmt: skip
      np.testing.assert_array_equal(stored[f"{prefix}.{name}.weight"], made[f"blk.{layer}.{kind}.weight"])


def test_halves_apart_undoes_the_order_of_llama_cpp():
  rows = np.arange(32, dtype=np.float32).reshape(16, 2)
  np.testing.assert_array_equal(halves_apart(pairs_together(rows, HEADS), HEADS), rows)
  assert pairs_together(rows, HEADS)[:4, 0].tolist() == [0, 4, 2, 6]


def test_quantised_weights_are_those_of_ggufs_reader(tmp_path):
  file, folder = converted(tmp_path)
  stored = load_file(folder / "model.safetensors")
  read = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(file).tensors}
  np.testing.assert_array_equal(stored["model.layers.1.mlp.down_proj.weight"], read["blk.1.ffn_down.weight"])
  queries = pairs_together(stored["model.layers.1.self_attn.q_proj.weight"], HEADS)
  np.testing.assert_array_equal(queries, read["blk.1.attn_q.weight"])
  assert all(array.dtype == np.float32 for array in stored.values())


def test_logits_are_those_of_transformers_on_the_gguf(tmp_path):
  file, folder = converted(tmp_path)
  ours = LlamaForCausalLM.from_pretrained(folder)
  theirs = LlamaForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
  ids = torch.tensor([[1, 5, 70, 200, 33, 90, 8, 2]])
  with torch.no_grad():
    a, b = ours(ids).logits, theirs(ids).logits
  assert a.std() > 0.5
  torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_config_names_the_source(tmp_path):
  _, folder = converted(tmp_path)
  config = json.loads((folder / "config.json").read_text())
  assert config["_name_or_path"] == SOURCE and config["model_type"] == "llama" and config["tie_word_embeddings"]
  assert config["rms_norm_eps"] == 1e-5 and config["rope_theta"] == 100_000.0
  ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
  assert ends == [2, 0]


def test_tokenizer(tmp_path):
  _, folder = converted(tmp_path)
  tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
  pieces = tokenizer.encode("hello 12<|im_end|>").tokens
  assert pieces == ["he", "ll", "o", "Ġ", "1", "2", "<|im_end|>"]
  assert tokenizer.decode(tokenizer.encode("hé 7!").ids) == "hé 7!"


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"architecture": "qwen2"}, "general.architecture is 'qwen2', expected 'llama'"),
    ({"pre": "llama-bpe"}, "tokenizer.ggml.pre is 'llama-bpe', expected 'smollm'"),
  ],
)
def test_another_model_is_refused(options, message, tmp_path):
  with pytest.raises(InputError, match=message):
    converted(tmp_path, **options)


def test_an_unknown_tensor_is_refused(tmp_path):
  file = write_gguf(tmp_path / "m.gguf", make_tensors() | {"rope_freqs.weight": np.ones(8, np.float32)})
  with pytest.raises(InputError, match=r"m\.gguf: unknown tensor rope_freqs\.weight"):
    convert(file, tmp_path, source=SOURCE)


def test_a_cut_file_is_refused(tmp_path):
  file = write_gguf(tmp_path / "m.gguf", make_tensors())
  file.write_bytes(file.read_bytes()[:2000])
  with pytest.raises(InputError, match=r"m\.gguf: not a whole GGUF file"):
    convert(file, tmp_path, source=SOURCE)
