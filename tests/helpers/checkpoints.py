"""Small checkpoints in Hugging Face form."""

import json
import shutil
from pathlib import Path

import torch
import transformers

from srpo_jax.data.toy.tokenizer import build_tokenizer


def make_checkpoint(folder: Path, *, seed: int = 0, dtype: str = "float32", std: float = 0.12, **shape) -> Path:
  """Saves a random Qwen2 with transformers and the tiny tokenizer, in the format of the released checkpoints."""
  tokenizer = build_tokenizer(folder)
  loaded = transformers.AutoTokenizer.from_pretrained(str(tokenizer))
  defaults = {
    "vocab_size": len(loaded),
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "rope_theta": 10_000.0,
    "eos_token_id": loaded.eos_token_id,
  }
  torch.manual_seed(seed)
  model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**(defaults | shape)))
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      parameter.normal_(1.0 if "norm" in name else 0.0, std)
  model.to(getattr(torch, dtype)).save_pretrained(folder)
  return folder


def make_talkative(checkpoint: Path, folder: Path) -> Path:
  """Copies a checkpoint and adds many stop tokens, so that a random policy ends most of its responses."""
  shutil.copytree(checkpoint, folder)
  (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(120, 200))}))
  return folder
