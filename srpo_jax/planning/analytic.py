"""Cost and memory of a step in closed form.

The search ranks meshes with it before it compiles any. Plans use it where nothing can be compiled.

All figures are for one chip on a mesh of d x f x t (data, fsdp, tensor). Of the W parameters, the 4-byte masters are
split f t ways and the 2-byte serving weights t ways. Activations count as written once and read once at each product.
The model does not know what a compiler fuses further or spills. Collectives are rings: for b bytes over n chips each
chip receives b (n - 1) / n.
"""

import dataclasses
import math

from srpo_jax.config import Config
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.planning.phases import model_flops
from srpo_jax.planning.programs import Program
from srpo_jax.planning.shapes import n_matmul_parameters, n_parameters
from srpo_jax.planning.traffic import Traffic
from srpo_jax.planning.workload import Workload
from srpo_jax.utils.rounding import round_up

ITEM = {"float32": 4, "bfloat16": 2}
# remat -> forward passes through the layers in one forward and backward pass.
FORWARDS = {"none": 1.0, "dots": 1.0, "full": 2.0}


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Memory on one chip in bytes."""

  weights: float
  moments: float
  gradients: float
  serving: float
  cache: float
  rollout_temporaries: float
  update_temporaries: float

  @property
  def rollout(self) -> float:
    return self.weights + self.moments + self.serving + self.cache + self.rollout_temporaries

  @property
  def update(self) -> float:
    return self.weights + self.moments + self.gradients + self.update_temporaries

  @property
  def peak(self) -> float:
    return max(self.rollout, self.update)


def sizes(config: Config, shape: TransformerConfig, row_tokens: int, *, lanes: int = 1) -> Sizes:
  """Returns the memory of a chip, computed only from shapes.

  Args:
    row_tokens: tokens of a row of a micro-batch.
    lanes: the cache pads a head's features to a multiple of this (0.5B's 64 to 128 on a TPU).
  """
  c, mesh = shape, config.mesh
  d, f, t = mesh.data, mesh.fsdp, mesh.tensor
  master, item = ITEM[config.model.param_dtype], ITEM[config.model.dtype]
  weights = n_parameters(c) * master / (f * t)
  serving = n_parameters(c) * item / t
  positions = config.data.max_prompt_tokens + config.rollout.max_new_tokens
  kv_ways = t if t <= c.num_key_value_heads else 1
  cache = _kv_bytes(c, item, lanes) / kv_ways
  cache *= config.rollout.slots / (d * f) * positions
  tokens = config.train.micro_batch * row_tokens / (d * f)
  kept = c.num_hidden_layers * tokens * c.hidden_size * item  # each layer's input
  wide = 4 * c.intermediate_size / t + 6 * c.hidden_size + 3 * (c.num_attention_heads * c.head_dim) / t
  wide += _normed(c) / t
  inside = tokens * wide * item * (1 if config.model.remat == "full" else c.num_hidden_layers)
  layer = n_parameters(c) / c.num_hidden_layers * (item + master) / t  # one gathered layer and its gradient
  head = c.vocab_size * c.hidden_size / t * (item + master)
  chunk = config.train.micro_batch / (d * f) * config.train.head_chunk * c.vocab_size / t * 4 * 4
  stacked = n_parameters(c) * item / (f * t)  # the masters cast to the dtype of the computation
  return Sizes(
    weights=weights,
    moments=2 * weights,
    gradients=weights,
    serving=serving,
    cache=cache,
    rollout_temporaries=0.1 * serving + config.rollout.slots / (d * f) * c.vocab_size * 4 * 2,
    update_temporaries=kept + inside + 2 * layer + head + chunk + stacked,
  )


def _normed(shape: TransformerConfig) -> int:
  """Returns the features of a token's queries and keys if they have a norm of their own, else 0."""
  return (shape.num_attention_heads + shape.num_key_value_heads) * shape.head_dim if shape.qk_norm else 0


def _kv_bytes(shape: TransformerConfig, item: int, lanes: int) -> int:
  """Returns the bytes of one position's keys and values in all layers and heads."""
  filled = round_up(shape.head_dim, lanes)
  return 2 * shape.num_hidden_layers * shape.num_key_value_heads * filled * item


def programs(config: Config, shape: TransformerConfig, work: Workload, *, lanes: int = 1) -> dict[str, Program]:
  """Returns programs with FLOPs, HBM bytes and received bytes in closed form, for `phases.estimate`.

  Their memory is unknown. See `sizes` for `lanes`.
  """
  c, mesh, o = shape, config.mesh, config.rollout
  d, f, t = mesh.data, mesh.fsdp, mesh.tensor
  ways = d * f
  master, item = ITEM[config.model.param_dtype], ITEM[config.model.dtype]
  w, size = n_parameters(c), sizes(config, shape, max(tokens for tokens, *_ in work.micro_batches), lanes=lanes)
  kv_ways = min(t, c.num_key_value_heads)
  kv_position = _kv_bytes(c, item, lanes) / kv_ways
  read = (w - (0 if c.tie_word_embeddings else c.vocab_size * c.hidden_size)) * item / t

  def ring(n_bytes: float, n: int) -> float:
    return n_bytes * (n - 1) / n

  def reduced(tokens: float, times: int) -> float:  # all-reduces of activations over tensor, `times` per layer
    return times * c.num_hidden_layers * 2 * ring(tokens * c.hidden_size * item, t)

  def program(name: str, flops: float, hbm: float, wire: float) -> Program:
    return Program(name, flops, {}, Traffic(hbm, {"all": (1.0, wire)} if wire else {}), (), 0.0)

  prompt = work.lengths.prompt
  forward_prompt = model_flops(c, prompt, prompt**2, backward=False)
  slots = o.slots
  decode = 2.0 * n_matmul_parameters(c) * slots
  decode += 4.0 * c.num_hidden_layers * c.num_attention_heads * c.head_dim * work.rollouts.in_use
  decode_bytes = read + kv_position * work.rollouts.in_use / ways
  decode_wire = reduced(slots / ways, 2) + ring(slots / ways * c.vocab_size * 4, t)

  row = max(tokens for tokens, *_ in work.micro_batches)
  tokens = config.train.micro_batch * row
  local = tokens / ways
  forward = model_flops(c, tokens, config.train.micro_batch * row**2, backward=False)
  passes = FORWARDS[config.model.remat] + 2
  wide = 4 * c.intermediate_size / t + 12 * c.hidden_size + 4 * c.num_attention_heads * c.head_dim / t
  wide += 2 * _normed(c) / t  # read and written
  moved = passes * c.num_hidden_layers * local * wide * item
  moved += passes * 2 * w * item / t + 3 * size.gradients  # write and read gathered weights, add gradients
  wire = 2 * ring(w * item / t, f) + ring(w * item / t, f)  # gather weights forward and backward, scatter gradients
  wire += 2 * ring(size.gradients, d) + reduced(local, 4 + (2 if config.model.remat == "full" else 0))
  found = [
    program("reshard", 0.0, w * master / (f * t) + size.serving, ring(size.serving, f)),
    program("prefill", forward_prompt, read, reduced(prompt, 2)),
    program("insert", 0.0, 2 * kv_position * prompt * min(o.group, slots) / ways, 0.0),
    program("generate", decode * o.chunk, decode_bytes * o.chunk, decode_wire * o.chunk),
    program("zeros", 0.0, size.gradients, 0.0),
    program("accumulate", forward * passes, moved, wire),
    program("apply", 0.0, 7 * w * master / (f * t), 0.0),
  ]
  if config.loss.updates > 1:
    found.append(program("log-probs", forward, moved / passes, wire / 3))
  return {p.name: p for p in found}


def divides(shape: TransformerConfig, d: int, f: int, t: int) -> bool:
  """Returns True if a mesh divides the model evenly. Fewer key/value heads than `t` are copied and always fit."""
  c = shape
  kv = c.num_key_value_heads
  return all(n % t == 0 for n in (c.num_attention_heads, c.vocab_size, c.intermediate_size)) and (
    c.hidden_size % f == 0 and (kv % t == 0 or t > kv)
  )


def meshes(shape: TransformerConfig, chips: int) -> list[tuple[int, int, int]]:
  """Returns every (data, fsdp, tensor) mesh of `chips` chips that divides the model evenly."""
  return [
    (chips // (f * t), f, t)
    for t in range(1, chips + 1)
    for f in range(1, chips // t + 1)
    if chips % (f * t) == 0 and divides(shape, chips // (f * t), f, t)
  ]


def rows_for(config: Config, ways: int) -> list[int]:
  """Returns the micro-batch rows to try: 1, 2 and 4 times `ways`, and the config's own number if `ways` divides it.

  Args:
    ways: parts that the rows are split into (data x fsdp).
  """
  own = config.train.micro_batch
  return sorted({ways, 2 * ways, 4 * ways} | ({own} if own % ways == 0 else set()))


def slots_for(config: Config, ways: int) -> list[int]:
  """Returns the slots to try: powers of two, from 16 to the number of responses of a step.

  Args:
    ways: parts that the slots are split into (data x fsdp), which must divide them.
  """
  n = config.rollout.prompts * config.rollout.group
  return [s for s in (2**i for i in range(4, 15)) if s % ways == 0 and s <= math.ceil(n)]
