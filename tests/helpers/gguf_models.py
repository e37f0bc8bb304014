"""Small GGUF files in the form that llama.cpp's converter writes, made with gguf's own writer."""

from pathlib import Path

import gguf
import numpy as np
from tokenizers import pre_tokenizers

HEADS, KV_HEADS, HIDDEN, INTERMEDIATE, LAYERS = 4, 2, 64, 96, 2
MERGES = ["h e", "l l", "Ġ h"]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokens() -> list[str]:
  return [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]


def make_tensors(seed: int = 0) -> dict[str, np.ndarray]:
  """Returns random tensors by their GGUF names, with rows in Hugging Face's order."""
  rng = np.random.default_rng(seed)
  width = HIDDEN // HEADS
  shapes = {"token_embd": (len(tokens()), HIDDEN), "output_norm": (HIDDEN,)}
  for layer in range(LAYERS):
    shapes |= {
      f"blk.{layer}.attn_norm": (HIDDEN,),
      f"blk.{layer}.attn_q": (HEADS * width, HIDDEN),
      f"blk.{layer}.attn_k": (KV_HEADS * width, HIDDEN),
      f"blk.{layer}.attn_v": (KV_HEADS * width, HIDDEN),
      f"blk.{layer}.attn_output": (HIDDEN, HIDDEN),
      f"blk.{layer}.ffn_norm": (HIDDEN,),
      f"blk.{layer}.ffn_gate": (INTERMEDIATE, HIDDEN),
      f"blk.{layer}.ffn_up": (INTERMEDIATE, HIDDEN),
      f"blk.{layer}.ffn_down": (HIDDEN, INTERMEDIATE),
    }
  scale = {1: (1.0, 0.3), 2: (0.0, 0.2)}  # mean and deviation of norms and of matrices
  return {f"{name}.weight": rng.normal(*scale[len(shape)], shape).astype(np.float32) for name, shape in shapes.items()}


def pairs_together(rows: np.ndarray, heads: int) -> np.ndarray:
  """Puts rows i and i + D / 2 of each head side by side, one row at a time."""
  width = len(rows) // heads
  order = [head * width + half * width // 2 + i for head in range(heads) for i in range(width // 2) for half in (0, 1)]
  return rows[order]


def write_gguf(file: Path, tensors: dict[str, np.ndarray], *, quantised: bool = True, **metadata: str) -> Path:
  """Writes a model. Matrices are stored as Q4_1, or in float32 if `quantised` is False."""
  writer = gguf.GGUFWriter(file, metadata.get("architecture", "llama"))
  writer.add_context_length(512)
  writer.add_embedding_length(HIDDEN)
  writer.add_block_count(LAYERS)
  writer.add_feed_forward_length(INTERMEDIATE)
  writer.add_head_count(HEADS)
  writer.add_head_count_kv(KV_HEADS)
  writer.add_rope_dimension_count(HIDDEN // HEADS)
  writer.add_vocab_size(len(tokens()))
  writer.add_layer_norm_rms_eps(1e-5)
  writer.add_rope_freq_base(100_000.0)
  writer.add_tokenizer_model("gpt2")
  writer.add_tokenizer_pre(metadata.get("pre", "smollm"))
  writer.add_token_list(tokens())
  kinds = [gguf.TokenType.CONTROL if token in CONTROL else gguf.TokenType.NORMAL for token in tokens()]
  writer.add_token_types(kinds)
  writer.add_token_merges(MERGES)
  writer.add_bos_token_id(1)
  writer.add_eos_token_id(2)
  writer.add_pad_token_id(2)
  writer.add_chat_template("{{ messages[0]['content'] }}")
  for name, array in tensors.items():
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.split(".")[-2])
    stored = pairs_together(array, heads) if heads else array
    if quantised and array.ndim == 2:
      kind = gguf.GGMLQuantizationType.Q4_1
      writer.add_tensor(name, gguf.quants.quantize(stored, kind), raw_dtype=kind)
    else:
      writer.add_tensor(name, stored)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return file
