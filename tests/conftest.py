"""What tests share: shapes checked at every call, small checkpoints in Hugging Face form, the real data folder."""

import json
import os
import shutil
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook(["srpo_jax.algorithm", "srpo_jax.model", "srpo_jax.learner", "srpo_jax.batch"], "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from srpo_jax.cache import enable_compilation_cache  # noqa: E402
from srpo_jax.data.tiny_tokenizer import build_tokenizer  # noqa: E402
from srpo_jax.model import hf  # noqa: E402

enable_compilation_cache()
ROOT = Path(__file__).parent.parent


def make_checkpoint(folder: Path, *, seed: int = 0, dtype: str = "float32", std: float = 0.12, **shape) -> Path:
  """Saves a random Qwen2 by transformers, in the form of the released ones, with the tiny tokenizer."""
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
  """A copy with many stop tokens, so that a random policy ends most of its responses."""
  shutil.copytree(checkpoint, folder)
  (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(120, 200))}))
  return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
  """A small tied checkpoint."""
  return make_checkpoint(tmp_path_factory.mktemp("tied"))


@pytest.fixture(scope="session")
def model(checkpoint):
  """The small checkpoint's shape and parameters, as we load them."""
  config = hf.read_config(checkpoint)
  return config, hf.load_params(checkpoint, config)


@pytest.fixture(scope="session")
def data_dir() -> Path:
  """The folder of real data; the test is skipped where it is absent."""
  folder = Path(os.environ.get("SRPO_DATA", ROOT / ".." / "shared" / "data"))
  if not folder.is_dir():
    pytest.skip(f"real data folder {folder} is absent (set SRPO_DATA)")
  return folder
