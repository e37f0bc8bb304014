"""Parts that the model families share: the fields of a config.json and the stored names of the tensors."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from srpo_jax.model.families.config_file import ConfigFile
from srpo_jax.model.families.rope import read_rope
from srpo_jax.model.hf_tensors import LeafPath, Slot, tensor_table
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.utils.errors import InputError

# Field -> values that ask for nothing beyond what the decoder computes. null and empty values never do.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
  "hidden_act": ("silu", "swish"),
  "mlp_bias": (False,),
  "is_causal": (True,),
  "use_bidirectional_attention": (False,),
  "use_sliding_window": (False,),
  "dual_chunk_attention_config": (),
  "rope_interleaved": (False,),
  "use_mrope": (False,),
  "clip_qkv": (),
  "attn_logit_softcapping": (),
  "final_logit_softcapping": (),
  "query_pre_attn_scalar": (),
  "attention_multiplier": (),
  "embedding_multiplier": (1,),
  "residual_multiplier": (1,),
  "logits_scaling": (1,),
  "logit_scale": (1,),
  "scale_emb": (1,),
  "num_experts": (0, 1),
  "num_local_experts": (0, 1),
  "n_routed_experts": (0, 1),
  "quantization_config": (),
  "compression_config": (),
}
QK_NORM = ("use_qk_norm", "qk_norm", "qk_layernorm")

# Leaf of our tree -> name of its stored tensor. The names come from Llama, and most families kept them.
TENSOR_NAMES: Mapping[LeafPath, str] = {
  ("embed",): "model.embed_tokens.weight",
  ("final_norm",): "model.norm.weight",
  ("head",): "lm_head.weight",
  ("layers", "attention_norm", "weight"): "model.layers.{layer}.input_layernorm.weight",
  ("layers", "mlp_norm", "weight"): "model.layers.{layer}.post_attention_layernorm.weight",
  **{("layers", f"{x}_kernel"): f"model.layers.{{layer}}.self_attn.{x}_proj.weight" for x in "qkvo"},
  **{("layers", f"{x}_kernel"): f"model.layers.{{layer}}.mlp.{x}_proj.weight" for x in ("gate", "up", "down")},
}


@dataclasses.dataclass(frozen=True)
class Family:
  """A family of models in Hugging Face form.

  Attributes:
    architecture: class of transformers that computes these models.
    read: returns the shape and options in a config.json, and raises InputError for what is not supported.
    tensor_names: leaf of our tree -> name of its stored tensor, with `{layer}` for the number of the layer.
    ignored: ends of the names of stored tensors that hold no parameter.
  """

  architecture: str
  read: Callable[[ConfigFile], TransformerConfig]
  tensor_names: Mapping[LeafPath, str]
  ignored: tuple[str, ...] = ()

  def tensors(self, config: TransformerConfig) -> dict[str, Slot]:
    """Returns stored tensor name -> Slot for every tensor of a model."""
    return tensor_table(config, self.tensor_names)


def refuse_unless(config: ConfigFile, name: str, *neutral: Any) -> None:
  """Raises InputError if a field is neither missing, nor empty, nor one of the neutral values."""
  value = config.fields.get(name)
  if value is not None and value not in ({}, [], *neutral):
    config.refuse(name, f"{' or '.join(map(repr, neutral)) or 'null'}: others are not supported")


def read_decoder(
  config: ConfigFile,
  *,
  head_dim: int | None = None,
  kv_heads: int | None = None,
  qkv_bias: bool = False,
  qk_norm: bool = False,
) -> TransformerConfig:
  """Reads the fields that all families have.

  Args:
    head_dim, kv_heads: values that replace a missing field. Without them, the features of a head are hidden_size /
      heads, and a missing num_key_value_heads is refused.

  Raises:
    InputError: a field is missing, out of range or not supported. The message names it.
  """
  for name, neutral in NEUTRAL.items():
    refuse_unless(config, name, *neutral)
  for name in QK_NORM:
    refuse_unless(config, name, qk_norm)
  for kind in config.fields.get("layer_types") or ():
    if kind != "full_attention":
      config.refuse("layer_types", "only 'full_attention' in it", kind)
  theta, scaling = read_rope(config)
  hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
  kv_heads = config.integer("num_key_value_heads", kv_heads)
  if heads % kv_heads:
    raise InputError(f"{config.file}: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}")
  if head_dim is None and config.fields.get("head_dim") is None and hidden % heads:
    raise InputError(f"{config.file}: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
  head_dim = config.integer("head_dim", head_dim or hidden // heads)
  if head_dim % 2:
    raise InputError(f"{config.file}: head_dim is {head_dim}, expected an even number: positions rotate pairs")
  return TransformerConfig(
    vocab_size=config.integer("vocab_size"),
    hidden_size=hidden,
    intermediate_size=config.integer("intermediate_size"),
    num_hidden_layers=config.integer("num_hidden_layers"),
    num_attention_heads=heads,
    num_key_value_heads=kv_heads,
    head_dim=head_dim,
    rope_theta=theta,
    rms_norm_eps=config.number("rms_norm_eps", 1e-6),
    tie_word_embeddings=config.flag("tie_word_embeddings", False),
    qkv_bias=qkv_bias,
    qk_norm=qk_norm,
    rope_scaling=scaling,
  )
