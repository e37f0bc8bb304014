"""Small checkpoints in Hugging Face form."""

import json
import shutil
from pathlib import Path

import torch
import transformers

from srpo_jax.data.toy.tokenizer import build_tokenizer

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

# model_type -> fields that give the family's options values that matter within a few hundred positions
FAMILIES = {
  "qwen2": {},
  "qwen3": {"head_dim": 16},
  "llama": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10_000.0, **LLAMA3}},
}


def make_checkpoint(
  folder: Path, *, family: str = "qwen2", seed: int = 0, dtype: str = "float32", std: float = 0.12, **shape
) -> Path:
  """Saves a random model with transformers and the tiny tokenizer, in the format of the released checkpoints."""
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
    "bos_token_id": None,
    "eos_token_id": loaded.eos_token_id,
  }
  torch.manual_seed(seed)
  config = transformers.AutoConfig.for_model(family, **(defaults | FAMILIES[family] | shape))
  model = transformers.AutoModelForCausalLM.from_config(config)
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
