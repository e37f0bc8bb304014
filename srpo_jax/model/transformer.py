"""Dense decoder of the supported model families in Flax linen: the forward pass over a plain parameter pytree.

A block is x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)). Positions enter by rotary embedding in its half-split
form. Four options tell the families apart: a bias on the query, key and value projections (Qwen2), an RMSNorm of each
query and key head (Qwen3), scaled rotary frequencies (Llama 3), and a head that is the embedding.

Axes: B rows, T tokens, M model features, F hidden features of the MLP, H query heads, N key/value heads, D features of
a head, V vocabulary, L layers (leading, scanned).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from srpo_jax.model.attention import causal_attention
from srpo_jax.model.sharding import constrain
from srpo_jax.model.shared_prompts import SharedPrompts, shared_prompt_attention
from srpo_jax.utils.arrays import Array

Params = dict[str, Any]
# (q [B T H D], k [B T N D], v [B T N D], the layer's input `given`) -> (out [B T H D], values that the layer keeps)
Attend = Callable[[Array, Array, Array, Any], tuple[Array, Any]]

REMAT_POLICIES: dict[str, Any] = {
  "none": None,  # keep every activation
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,  # keep the projections' outputs
  "full": jax.checkpoint_policies.nothing_saveable,  # keep only each layer's input
}


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """Llama 3's scaling of the rotary frequencies (arXiv 2407.21783), with the field names of its Hugging Face config.

  A feature pair that turns fewer than `low_freq_factor` times over the original context is slowed down by `factor`. One
  that turns more than `high_freq_factor` times keeps its frequency. In between, the two are interpolated.
  """

  factor: float
  low_freq_factor: float
  high_freq_factor: float
  original_max_position_embeddings: int

  def __call__(self, frequency: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
    """Returns the scaled frequencies, in radians per position."""
    turns = self.original_max_position_embeddings / (2 * math.pi) * frequency
    kept = jnp.clip((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor), 0.0, 1.0)
    return frequency * (kept + (1 - kept) / self.factor)


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """Shape and options of a decoder. Fields that a Hugging Face config has keep their names.

  Attributes:
    qkv_bias: adds a bias to the query, key and value projections.
    qk_norm: applies an RMSNorm to each query and key head before the rotary embedding.
    rope_scaling: scaling of the rotary frequencies; None keeps them.
  """

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  num_key_value_heads: int
  head_dim: int
  rope_theta: float
  rms_norm_eps: float
  tie_word_embeddings: bool
  qkv_bias: bool = True
  qk_norm: bool = False
  rope_scaling: RopeScaling | None = None


def rope_frequencies(features: int, theta: float, scaling: RopeScaling | None) -> Float[Array, " pairs"]:
  """Returns the angle per position of feature pairs (i, i + D/2), theta^(-2i/D), or what `scaling` makes of it."""
  # On the host, these are the bits of transformers. XLA's power is one off in the last place, which at 520 positions
  # moved logits of size 9 by 5e-4.
  exponents = np.arange(0, features, 2, dtype=np.float32) / np.float32(features)
  frequency = jnp.asarray(np.float32(1) / np.float32(theta) ** exponents)
  return frequency if scaling is None else scaling(frequency)


def rope(x: Float[Array, " B T H D"], positions: Int[Array, " B T"], config: TransformerConfig) -> Array:
  """Rotates feature pairs (i, i + D/2) by position x frequency, in fp32. Returns the shape and dtype of x."""
  half = x.shape[-1] // 2
  frequency = rope_frequencies(x.shape[-1], config.rope_theta, config.rope_scaling)
  angle = positions[..., None, None].astype(jnp.float32) * frequency
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  a, b = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)


def linear(x: Float[Array, " *batch _"], kernel: Float[Array, " ..."], inputs: int = 1) -> Float[Array, " ..."]:
  """Returns x @ kernel, contracting x's last axis with the kernel's first `inputs` axes (flattened).

  This is one two-dimensional product. With separate batch axes, XLA's CPU backend transposes the operands of the weight
  gradient through memory, which costs several times as much as the product.
  """
  out = kernel.shape[inputs:]
  flat = x.reshape(-1, x.shape[-1]) @ kernel.reshape(x.shape[-1], -1)
  return flat.reshape(*x.shape[:-1], *out)


class RMSNorm(nn.Module):
  """Computes x / rms(x) * weight with the statistic in fp32."""

  eps: float

  @nn.compact
  def __call__(self, x: Array) -> Array:
    weight = self.param("weight", nn.initializers.ones, (x.shape[-1],))
    x32 = x.astype(jnp.float32)
    x32 = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
    return x32.astype(x.dtype) * weight.astype(x.dtype)


class Block(nn.Module):
  """One layer. `attend` decides which keys and values a query sees: those of its own row, or a cache."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Array, positions: Array, attend: Attend, given: Any) -> tuple[Array, Any]:
    c = self.config
    init = nn.initializers.normal(0.02)
    heads = {"q": c.num_attention_heads, "k": c.num_key_value_heads, "v": c.num_key_value_heads}

    h = RMSNorm(c.rms_norm_eps, name="attention_norm")(x)
    qkv = {}
    for name, n in heads.items():
      projected = linear(h, self.param(f"{name}_kernel", init, (c.hidden_size, n, c.head_dim)).astype(x.dtype))
      if c.qkv_bias:
        projected += self.param(f"{name}_bias", nn.initializers.zeros, (n, c.head_dim)).astype(x.dtype)
      split = "heads" if name == "q" else "kv_heads"
      qkv[name] = constrain(projected, "batch", "length", split, "head_dim")
      if c.qk_norm and name != "v":
        qkv[name] = RMSNorm(c.rms_norm_eps, name=f"{name}_norm")(qkv[name])
    q, k = (rope(qkv[name], positions, c) for name in "qk")
    out, kept = attend(q, k, qkv["v"], given)
    out = constrain(out, "batch", "length", "heads", "head_dim")
    kernel = self.param("o_kernel", init, (c.num_attention_heads, c.head_dim, c.hidden_size)).astype(x.dtype)
    x = constrain(x + linear(out.reshape(*out.shape[:2], -1), kernel, inputs=2), "batch", "length", "features")

    h = RMSNorm(c.rms_norm_eps, name="mlp_norm")(x)
    gate, up = (
      linear(h, self.param(f"{name}_kernel", init, (c.hidden_size, c.intermediate_size)).astype(x.dtype))
      for name in ("gate", "up")
    )
    hidden = constrain(nn.silu(gate) * up, "batch", "length", "mlp")
    down = self.param("down_kernel", init, (c.intermediate_size, c.hidden_size)).astype(x.dtype)
    return constrain(x + linear(hidden, down), "batch", "length", "features"), kept


def init_params(config: TransformerConfig, key: Array) -> Params:
  """Returns random fp32 parameters: embed [V M], layers (each leaf [L ...]), final_norm [M], head [M V] if untied."""
  c = config
  embed_key, layers_key, head_key = jax.random.split(key, 3)
  x, positions = jnp.zeros((1, 1, c.hidden_size)), jnp.zeros((1, 1), jnp.int32)
  block = Block(c)

  def layer(key: Array) -> Params:
    return block.init(key, x, positions, lambda q, k, v, given: (q, None), None)["params"]

  params = {
    "embed": 0.02 * jax.random.normal(embed_key, (c.vocab_size, c.hidden_size)),
    "layers": jax.vmap(layer)(jax.random.split(layers_key, c.num_hidden_layers)),
    "final_norm": jnp.ones(c.hidden_size),
  }
  if not c.tie_word_embeddings:
    params["head"] = 0.02 * jax.random.normal(head_key, (c.hidden_size, c.vocab_size))
  return params


def unstack_layers(params: Params, config: TransformerConfig) -> list[Params]:
  """Returns the layers as a list, for programs that visit each layer many times.

  A scan would slice the stack at every visit.
  """
  leaves, tree = jax.tree.flatten(params["layers"])
  return [jax.tree.unflatten(tree, [leaf[i] for leaf in leaves]) for i in range(config.num_hidden_layers)]


def _batch_axes(n: int) -> tuple[str, ...]:
  return ("batch", "length")[:n]


def embed(params: Params, tokens: Int[Array, " *batch"], dtype: Any) -> Float[Array, " *batch M"]:
  """Returns the embeddings of tokens in `dtype`."""
  # Rows of the table stay whole, because the looked-up rows are split over the batch.
  table = constrain(params["embed"], "vocab", "features")
  return constrain(table[tokens].astype(dtype), *_batch_axes(tokens.ndim), "features")


def apply_layers(
  params: Params,
  config: TransformerConfig,
  x: Float[Array, " B T M"],
  positions: Int[Array, " B T"],
  attend: Attend,
  *,
  remat: str = "none",
) -> tuple[Float[Array, " B T M"], Any]:
  """Applies all blocks in one scan. Returns the output and the values `attend` kept, stacked on a leading L axis.

  Args:
    remat: key of REMAT_POLICIES.
  """
  block = Block(config)

  def layer(x: Array, layer_params: Params) -> tuple[Array, Any]:
    return block.apply({"params": layer_params}, x, positions, attend, None)

  if remat != "none":
    layer = jax.checkpoint(layer, policy=REMAT_POLICIES[remat])
  # Unrolled, a shallow model compiles as fast, and its backward pass keeps no stacked copies.
  return jax.lax.scan(layer, x, params["layers"], unroll=config.num_hidden_layers <= 4)


def apply_layer(
  layer_params: Params, config: TransformerConfig, x: Array, positions: Array, attend: Attend, given: Any
) -> tuple[Array, Any]:
  """Applies one block, whose parameters come from `unstack_layers`. Returns the output and the values `attend` kept."""
  return Block(config).apply({"params": layer_params}, x, positions, attend, given)


def final_norm(params: Params, config: TransformerConfig, x: Float[Array, " *batch M"]) -> Float[Array, " *batch M"]:
  """Applies the RMSNorm before the head."""
  return cast(Array, RMSNorm(config.rms_norm_eps).apply({"params": {"weight": params["final_norm"]}}, x))


def gather_head(params: Params) -> Params:
  """Returns the parameters that `logits` reads, gathered over fsdp.

  A loop that calls `logits` would otherwise gather them in every iteration.
  """
  if "head" in params:
    return {"head": constrain(params["head"], "features", "vocab")}
  return {"embed": constrain(params["embed"], "vocab", "features")}


def logits(params: Params, hidden: Float[Array, " *batch M"]) -> Float[Array, " *batch V"]:
  """Returns fp32 next-token logits from hidden states after the final norm."""
  flat = hidden.reshape(-1, hidden.shape[-1])
  if "head" in params:
    out = jnp.dot(flat, params["head"].astype(flat.dtype), preferred_element_type=jnp.float32)
  else:
    out = jnp.einsum("nm,vm->nv", flat, params["embed"].astype(flat.dtype), preferred_element_type=jnp.float32)
  return constrain(out.reshape(*hidden.shape[:-1], -1), *_batch_axes(hidden.ndim - 1), "vocab")


def forward(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, " B T"],
  positions: Int[Array, " B T"],
  segments: Int[Array, " B T"],
  *,
  response: Int[Array, " B T"] | None = None,
  shared: SharedPrompts | None = None,
  dtype: Any = jnp.float32,
  remat: str = "none",
) -> Float[Array, " B T M"]:
  """Returns hidden states after the final norm.

  Args:
    positions: position of each token within its own sequence, from 0.
    segments: number of the token's sequence within its row, from 1; 0 is padding.
    response: number of the token's response within its row, from 1; 0 for prompts. Used only with `shared`.
    shared: layout of rows whose responses share a prompt. None: each sequence is a prompt with one response.
    dtype: dtype of the computation; parameters keep their own.
    remat: key of REMAT_POLICIES, which decides what the backward pass recomputes.
  """

  def attend(q: Array, k: Array, v: Array, given: None) -> tuple[Array, None]:
    if shared is not None:
      assert response is not None
      return shared_prompt_attention(q, k, v, segments, response, shared), None
    return causal_attention(q, k, v, segments), None

  x, _ = apply_layers(params, config, embed(params, tokens, dtype), positions, attend, remat=remat)
  return final_norm(params, config, x)
