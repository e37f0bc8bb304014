"""Shapes of the published Qwen2.5 models, for plans on machines without their weights.

They come from config.json on each model's page, huggingface.co/Qwen/Qwen2.5-SIZE. All have rope_theta 1e6 and heads of
hidden_size / heads features. The Math, Coder and Instruct models of a size share its shape. Some differ in rope_theta
or epsilon, which changes no program.
"""

import re
from pathlib import Path

from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.utils.errors import InputError

# size -> hidden, layers, heads, key/value heads, intermediate, vocabulary, rms_norm_eps, tied
_PUBLISHED: dict[str, tuple[int, int, int, int, int, int, float, bool]] = {
  "0.5B": (896, 24, 14, 2, 4864, 151_936, 1e-6, True),
  "1.5B": (1536, 28, 12, 2, 8960, 151_936, 1e-6, True),
  "3B": (2048, 36, 16, 2, 11_008, 151_936, 1e-6, True),
  "7B": (3584, 28, 28, 4, 18_944, 152_064, 1e-6, False),
  "14B": (5120, 48, 40, 8, 13_824, 152_064, 1e-5, False),
  "32B": (5120, 64, 40, 8, 27_648, 152_064, 1e-5, False),
  "72B": (8192, 80, 64, 8, 29_568, 152_064, 1e-5, False),
}


def published_shape(name: str) -> TransformerConfig | None:
  """Returns the shape of a published model by its name, such as `Qwen/Qwen2.5-32B` or `Qwen2.5-Math-7B-Instruct`.

  Only the last part of a path counts. Returns None for other names.
  """
  found = re.fullmatch(r"Qwen2\.5-(?:(?:Math|Coder)-)?([\d.]+B)(?:-Instruct)?", Path(name).name)
  if found is None or found[1] not in _PUBLISHED:
    return None
  hidden, layers, heads, kv_heads, intermediate, vocabulary, eps, tied = _PUBLISHED[found[1]]
  return TransformerConfig(
    vocab_size=vocabulary,
    hidden_size=hidden,
    intermediate_size=intermediate,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    num_key_value_heads=kv_heads,
    head_dim=hidden // heads,
    rope_theta=1e6,
    rms_norm_eps=eps,
    tie_word_embeddings=tied,
  )


def known_names() -> str:
  """Returns the names of the published models, for error messages."""
  return ", ".join(f"Qwen/Qwen2.5-{size}" for size in _PUBLISHED) + " (or Math, Coder, Instruct)"


def n_parameters(shape: TransformerConfig) -> int:
  """Returns the number of parameters. A tied head counts once."""
  c = shape
  attention = c.hidden_size * c.head_dim * 2 * (c.num_attention_heads + c.num_key_value_heads)
  attention += c.head_dim * (c.num_attention_heads + 2 * c.num_key_value_heads)  # biases
  layer = attention + 3 * c.hidden_size * c.intermediate_size + 2 * c.hidden_size
  vocabulary = c.vocab_size * c.hidden_size * (1 if c.tie_word_embeddings else 2)
  return c.num_hidden_layers * layer + vocabulary + c.hidden_size


def n_matmul_parameters(shape: TransformerConfig) -> int:
  """Returns the number of parameters in matrix products with every token.

  Counts no embedding, norm or bias, and the head once, tied or not.
  """
  c = shape
  attention = c.hidden_size * c.head_dim * 2 * (c.num_attention_heads + c.num_key_value_heads)
  return c.num_hidden_layers * (attention + 3 * c.hidden_size * c.intermediate_size) + c.vocab_size * c.hidden_size


def model_shape(path: str, commit: str = "") -> TransformerConfig:
  """Returns the shape of the Hugging Face folder `path` if it exists, else of the published model of that name.

  For another model on the hub or on gs://, only its config and tokenizer are fetched.

  Raises:
    InputError: `path` is none of these.
  """
  from srpo_jax.model import folder, hf

  if Path(path).is_dir():
    return hf.read_config(path)
  shape = published_shape(path)
  if shape is not None:
    return shape
  if "://" not in path and folder.hub_model(path) is None:
    raise InputError(f"config.model.path: {path}: no such folder, and none of the known shapes {known_names()}")
  return hf.read_config(folder.model_folder(path, commit, weights=False))
