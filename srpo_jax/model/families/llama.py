"""Llama (arXiv 2407.21783) and models in its form, such as SmolLM2."""

from srpo_jax.model.families.config_file import ConfigFile
from srpo_jax.model.families.family import TENSOR_NAMES, Family, read_decoder, refuse_unless
from srpo_jax.model.transformer import TransformerConfig


def read(config: ConfigFile) -> TransformerConfig:
  """Returns the shape and options in a config.json. Without num_key_value_heads, each query head has its own."""
  refuse_unless(config, "attention_bias", False)  # it includes one on the output projection
  if config.fields.get("use_sliding_window") is None:
    refuse_unless(config, "sliding_window")
  return read_decoder(config, kv_heads=config.integer("num_attention_heads"))


# Old folders also store the rotary frequencies, which follow from config.json.
FAMILY = Family("LlamaForCausalLM", read, TENSOR_NAMES, ignored=("rotary_emb.inv_freq",))
