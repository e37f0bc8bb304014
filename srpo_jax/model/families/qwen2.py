"""Qwen2 and Qwen2.5 (arXiv 2412.15115). The query, key and value projections have a bias."""

from srpo_jax.model.families.config_file import ConfigFile
from srpo_jax.model.families.family import TENSOR_NAMES, Family, read_decoder
from srpo_jax.model.hf_tensors import LeafPath
from srpo_jax.model.transformer import TransformerConfig


def read(config: ConfigFile) -> TransformerConfig:
  """Returns the shape and options in a config.json."""
  return read_decoder(config, qkv_bias=True)


BIASES: dict[LeafPath, str] = {
  ("layers", f"{x}_bias"): f"model.layers.{{layer}}.self_attn.{x}_proj.bias" for x in "qkv"
}
FAMILY = Family("Qwen2ForCausalLM", read, {**TENSOR_NAMES, **BIASES})
