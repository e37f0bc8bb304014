"""Shapes of published models, for plans on machines without their weights.

They come from config.json on each model's page, huggingface.co/Qwen, /meta-llama and /HuggingFaceTB. Models of one row
may differ in rope_theta or epsilon, which changes no program.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from srpo_jax.model.transformer import RopeScaling, TransformerConfig
from srpo_jax.utils.errors import InputError


def _shape(
  hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, *, head_dim: int = 0, **common: Any
) -> TransformerConfig:
  return TransformerConfig(
    hidden_size=hidden,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    num_key_value_heads=kv_heads,
    intermediate_size=intermediate,
    head_dim=head_dim or hidden // heads,
    **common,
  )


def _qwen25(*sizes: int, vocabulary: int = 151_936, eps: float = 1e-6, tied: bool = True) -> TransformerConfig:
  return _shape(*sizes, vocab_size=vocabulary, rope_theta=1e6, rms_norm_eps=eps, tie_word_embeddings=tied)


def _qwen3(*sizes: int, tied: bool = True) -> TransformerConfig:
  common: dict[str, Any] = {"vocab_size": 151_936, "rope_theta": 1e6, "rms_norm_eps": 1e-6, "tie_word_embeddings": tied}
  return _shape(*sizes, head_dim=128, qkv_bias=False, qk_norm=True, **common)


def _llama3(*sizes: int, factor: float = 8.0, tied: bool = False) -> TransformerConfig:
  common: dict[str, Any] = {"vocab_size": 128_256, "rope_theta": 5e5, "rms_norm_eps": 1e-5, "tie_word_embeddings": tied}
  return _shape(*sizes, qkv_bias=False, rope_scaling=RopeScaling(factor, 1.0, 4.0, 8192), **common)


def _smollm2(*sizes: int, theta: float = 1e5) -> TransformerConfig:
  common: dict[str, Any] = {"vocab_size": 49_152, "rope_theta": theta, "rms_norm_eps": 1e-5}
  return _shape(*sizes, qkv_bias=False, tie_word_embeddings=True, **common)


@dataclasses.dataclass(frozen=True)
class Series:
  """Published models of one name in several sizes.

  Attributes:
    name: pattern of the name, with `{size}` for the size. Variants of one shape share a pattern.
    example: name of the plain model, with `{size}`.
    sizes: size -> shape.
  """

  name: str
  example: str
  sizes: dict[str, TransformerConfig]


# Sizes: hidden, layers, heads, key/value heads, intermediate.
PUBLISHED = (
  Series(
    r"Qwen2\.5-(?:(?:Math|Coder)-)?{size}(?:-Instruct)?",
    "Qwen/Qwen2.5-{size}",
    {
      "0.5B": _qwen25(896, 24, 14, 2, 4864),
      "1.5B": _qwen25(1536, 28, 12, 2, 8960),
      "3B": _qwen25(2048, 36, 16, 2, 11_008),
      "7B": _qwen25(3584, 28, 28, 4, 18_944, vocabulary=152_064, tied=False),
      "14B": _qwen25(5120, 48, 40, 8, 13_824, vocabulary=152_064, eps=1e-5, tied=False),
      "32B": _qwen25(5120, 64, 40, 8, 27_648, vocabulary=152_064, eps=1e-5, tied=False),
      "72B": _qwen25(8192, 80, 64, 8, 29_568, vocabulary=152_064, eps=1e-5, tied=False),
    },
  ),
  Series(
    r"Qwen3-{size}(?:-Base|-Instruct-2507|-Thinking-2507)?",
    "Qwen/Qwen3-{size}",
    {
      "0.6B": _qwen3(1024, 28, 16, 8, 3072),
      "1.7B": _qwen3(2048, 28, 16, 8, 6144),
      "4B": _qwen3(2560, 36, 32, 8, 9728),
      "8B": _qwen3(4096, 36, 32, 8, 12_288, tied=False),
      "14B": _qwen3(5120, 40, 40, 8, 17_408, tied=False),
      "32B": _qwen3(5120, 64, 64, 8, 25_600, tied=False),
    },
  ),
  Series(
    r"Llama-3\.2-{size}(?:-Instruct)?",
    "meta-llama/Llama-3.2-{size}",
    {
      "1B": _llama3(2048, 16, 32, 8, 8192, factor=32.0, tied=True),
      "3B": _llama3(3072, 28, 24, 8, 8192, factor=32.0, tied=True),
    },
  ),
  Series(
    r"(?:Meta-)?Llama-3\.1-{size}(?:-Instruct)?",
    "meta-llama/Llama-3.1-{size}",
    {"8B": _llama3(4096, 32, 32, 8, 14_336), "70B": _llama3(8192, 80, 64, 8, 28_672)},
  ),
  Series(
    r"Llama-3\.3-{size}-Instruct", "meta-llama/Llama-3.3-{size}-Instruct", {"70B": _llama3(8192, 80, 64, 8, 28_672)}
  ),
  Series(
    r"SmolLM2-{size}(?:-Instruct)?",
    "HuggingFaceTB/SmolLM2-{size}",
    {
      "135M": _smollm2(576, 30, 9, 3, 1536),
      "360M": _smollm2(960, 32, 15, 5, 2560),
      "1.7B": _smollm2(2048, 24, 32, 32, 8192, theta=130_000.0),
    },
  ),
)


def published_shape(name: str) -> TransformerConfig | None:
  """Returns the shape of a published model by its name, such as `Qwen/Qwen2.5-32B` or `Llama-3.1-8B-Instruct`.

  Only the last part of a path counts. Returns None for other names.
  """
  for series in PUBLISHED:
    for size, shape in series.sizes.items():
      if re.fullmatch(series.name.format(size=re.escape(size)), Path(name).name):
        return shape
  return None


def known_names() -> str:
  """Returns the names of the published models, for error messages."""
  return ", ".join(series.example.format(size=size) for series in PUBLISHED for size in series.sizes)


def n_parameters(shape: TransformerConfig) -> int:
  """Returns the number of parameters. A tied head counts once."""
  c = shape
  attention = c.hidden_size * c.head_dim * 2 * (c.num_attention_heads + c.num_key_value_heads)
  if c.qkv_bias:
    attention += c.head_dim * (c.num_attention_heads + 2 * c.num_key_value_heads)
  if c.qk_norm:
    attention += 2 * c.head_dim
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
