"""Dense models of Qwen3 (arXiv 2505.09388). Each query and key head has an RMSNorm before the rotary embedding."""

from srpo_jax.model.families.config_file import ConfigFile
from srpo_jax.model.families.family import TENSOR_NAMES, Family, read_decoder, refuse_unless
from srpo_jax.model.hf_tensors import LeafPath
from srpo_jax.model.transformer import TransformerConfig


def read(config: ConfigFile) -> TransformerConfig:
  """Returns the shape and options in a config.json. A head has 128 features if the file states no other number."""
  refuse_unless(config, "attention_bias", False)  # it includes one on the output projection
  return read_decoder(config, head_dim=128, qk_norm=True)


NORMS: dict[LeafPath, str] = {
  ("layers", f"{x}_norm", "weight"): f"model.layers.{{layer}}.self_attn.{x}_norm.weight" for x in "qk"
}
FAMILY = Family("Qwen3ForCausalLM", read, {**TENSOR_NAMES, **NORMS})
