"""Turns a GGUF file of a Llama model into a Hugging Face folder. Quantised weights are dequantised to float32.

GGUF is llama.cpp's format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): one file with the metadata, the
tokenizer and the tensors. It differs from a Hugging Face folder in two ways that matter here:

- The rows of a head's query and key projections are stored in another order. llama.cpp rotates neighbouring features
  (2i, 2i + 1), and transformers rotates the features (i, i + D / 2) of a head with D features.
- The tokenizer is a list of tokens and merges, with the name of its pre-tokenizer.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from srpo_jax.model import hf
from srpo_jax.utils.errors import InputError, one_line

# Tensor of the GGUF -> of the folder. `{}` is the number of a layer.
_NAMES = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
  "blk.{}.attn_norm.weight": "model.layers.{}.input_layernorm.weight",
  "blk.{}.attn_q.weight": "model.layers.{}.self_attn.q_proj.weight",
  "blk.{}.attn_k.weight": "model.layers.{}.self_attn.k_proj.weight",
  "blk.{}.attn_v.weight": "model.layers.{}.self_attn.v_proj.weight",
  "blk.{}.attn_output.weight": "model.layers.{}.self_attn.o_proj.weight",
  "blk.{}.ffn_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
  "blk.{}.ffn_gate.weight": "model.layers.{}.mlp.gate_proj.weight",
  "blk.{}.ffn_up.weight": "model.layers.{}.mlp.up_proj.weight",
  "blk.{}.ffn_down.weight": "model.layers.{}.mlp.down_proj.weight",
}
_SIZES = {  # field of config.json -> metadata
  "hidden_size": "llama.embedding_length",
  "intermediate_size": "llama.feed_forward_length",
  "num_hidden_layers": "llama.block_count",
  "num_attention_heads": "llama.attention.head_count",
  "num_key_value_heads": "llama.attention.head_count_kv",
  "max_position_embeddings": "llama.context_length",
}
_LAYER = re.compile(r"^blk\.(\d+)\.")


def convert(gguf: Path, folder: Path, *, source: str) -> None:
  """Writes the Hugging Face folder of a GGUF file: config, generation config, tokenizer and float32 weights.

  Args:
    folder: existing folder to write into.
    source: name of the model and of its precision, kept in config.json.

  Raises:
    InputError: the package `gguf` is missing, or the file is damaged or not a Llama model with SmolLM's tokenizer.
  """
  try:
    from gguf import GGUFReader  # an extra, since only the demo needs it
  except ImportError:
    raise InputError(f"{gguf}: the package gguf is not installed, expected `pip install 'srpo-jax[demo]'`") from None
  try:
    reader = GGUFReader(gguf)
  except Exception as error:  # the reader passes on what numpy raises for a cut file
    raise InputError(f"{gguf}: not a whole GGUF file ({one_line(error)})") from error
  meta = {name: field.contents() for name, field in reader.fields.items()}
  for name, wanted in {"general.architecture": "llama", "tokenizer.ggml.pre": "smollm"}.items():
    if meta.get(name) != wanted:
      raise InputError(f"{gguf}: {name} is {meta.get(name)!r}, expected {wanted!r}")
  weights = _weights(reader, gguf, meta)
  config = _config(meta, source, tied="lm_head.weight" not in weights)
  _write_json(folder / "config.json", config)
  text_end = meta["tokenizer.ggml.tokens"].index("<|endoftext|>")  # ends a text, as <|im_end|> ends a turn
  ids = {name: config[name] for name in ("bos_token_id", "pad_token_id")}
  _write_json(folder / "generation_config.json", ids | {"eos_token_id": [config["eos_token_id"], text_end]})
  _write_tokenizer(meta, config, folder)
  save_file(weights, folder / hf.SINGLE_FILE, {"format": "pt"})


def _config(meta: dict[str, Any], source: str, *, tied: bool) -> dict[str, Any]:
  """Returns the fields of config.json. The metadata stores floats in float32, so they are rounded to six digits."""
  eps, theta = (
    float(f"{meta[name]:.6g}") for name in ("llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base")
  )
  return {
    "_name_or_path": source,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "hidden_act": "silu",
    **{field: meta[name] for field, name in _SIZES.items()},
    "vocab_size": len(meta["tokenizer.ggml.tokens"]),
    "rms_norm_eps": eps,
    "rope_theta": theta,
    "tie_word_embeddings": tied,
    "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
    "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
    "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
  }


def _weights(reader: Any, gguf: Path, meta: dict[str, Any]) -> dict[str, np.ndarray]:
  """Returns the dequantised tensors by their names in the folder.

  Raises:
    InputError: a tensor that a Llama model does not have, or of a type that gguf cannot dequantise.
  """
  from gguf.quants import dequantize

  heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
  weights = {}
  for tensor in reader.tensors:
    found = _LAYER.match(tensor.name)
    name = _NAMES.get(_LAYER.sub("blk.{}.", tensor.name))
    if name is None:
      raise InputError(f"{gguf}: unknown tensor {tensor.name}, expected only those of a Llama model")
    try:
      array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    except NotImplementedError:
      kind = tensor.tensor_type.name
      raise InputError(f"{gguf}: tensor {tensor.name} has the type {kind}, which gguf cannot dequantise") from None
    kind = tensor.name.split(".")[-2]
    layer = found.groups() if found else ()
    weights[name.format(*layer)] = halves_apart(array, heads[kind]) if kind in heads else array
  return weights


def halves_apart(rows: Float[np.ndarray, "R F"], heads: int) -> Float[np.ndarray, "R F"]:
  """Reorders each head's rows from (0, D/2, 1, D/2 + 1, ...), as stored in a GGUF, to (0, 1, 2, ...)."""
  pairs = rows.reshape(heads, -1, 2, rows.shape[1])  # [head, pair, half, feature]
  return np.ascontiguousarray(pairs.transpose(0, 2, 1, 3).reshape(rows.shape))


def _write_tokenizer(meta: dict[str, Any], config: dict[str, Any], folder: Path) -> None:
  """Writes SmolLM's tokenizer: byte-level BPE over single digits and the pieces of GPT-2's pattern."""
  from gguf import TokenType

  tokens = meta["tokenizer.ggml.tokens"]
  merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
  tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
  )
  tokenizer.decoder = decoders.ByteLevel()
  kinds = meta["tokenizer.ggml.token_type"]
  control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == TokenType.CONTROL]
  tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
  tokenizer.save(str(folder / "tokenizer.json"))
  named = {f"{name}_token": tokens[config[f"{name}_token_id"]] for name in ("bos", "eos", "pad")}
  settings = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    "model_max_length": config["max_position_embeddings"],
    "chat_template": meta.get("tokenizer.chat_template"),
  }
  _write_json(folder / "tokenizer_config.json", settings | named | {"unk_token": "<|endoftext|>"})


def _write_json(file: Path, value: dict[str, Any]) -> None:
  file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
