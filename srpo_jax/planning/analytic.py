"""A step's cost and memory in closed form: to rank meshes before compiling any, and where nothing can be compiled.

Of one chip on a mesh of d x f x t (data, fsdp, tensor). W: parameters, 4-byte masters split f t ways, 2-byte serving
weights t ways. Activations are counted once written and once read at each product; what a compiler fuses further or
spills is not known here. Collectives are rings: of b bytes over n chips each receives b (n - 1) / n.
"""

import dataclasses
import math

from srpo_jax.config import Config
from srpo_jax.model.qwen2 import Qwen2Config
from srpo_jax.planning.phases import model_flops
from srpo_jax.planning.programs import Program
from srpo_jax.planning.shapes import n_matmul_parameters, n_parameters
from srpo_jax.planning.traffic import Traffic
from srpo_jax.planning.workload import Workload

ITEM = {"float32": 4, "bfloat16": 2}
FORWARDS = {"none": 1.0, "dots": 1.0, "full": 2.0}  # of the layers, in one forward and backward pass


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Bytes on one chip."""

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


def sizes(config: Config, shape: Qwen2Config, row_tokens: int, *, lanes: int = 1) -> Sizes:
  """What lies on a chip, from shapes alone.

  Args:
    lanes: a head's features are filled up to a multiple of these in the cache (0.5B's 64 to 128 on a TPU).
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
  inside = tokens * wide * item * (1 if config.model.remat == "full" else c.num_hidden_layers)
  layer = n_parameters(c) / c.num_hidden_layers * (item + master) / t  # one layer gathered, and its gradient
  head = c.vocab_size * c.hidden_size / t * (item + master)
  chunk = config.train.micro_batch / (d * f) * config.train.head_chunk * c.vocab_size / t * 4 * 4
  stacked = n_parameters(c) * item / (f * t)  # the masters in the type of the computation
  return Sizes(
    weights=weights,
    moments=2 * weights,
    gradients=weights,
    serving=serving,
    cache=cache,
    rollout_temporaries=0.1 * serving + config.rollout.slots / (d * f) * c.vocab_size * 4 * 2,
    update_temporaries=kept + inside + 2 * layer + head + chunk + stacked,
  )


def _kv_bytes(shape: Qwen2Config, item: int, lanes: int) -> int:
  """Bytes of a position's keys and values in all layers and heads."""
  filled = -(-shape.head_dim // lanes) * lanes
  return 2 * shape.num_hidden_layers * shape.num_key_value_heads * filled * item


def programs(config: Config, shape: Qwen2Config, work: Workload, *, lanes: int = 1) -> dict[str, Program]:
  """Programs with FLOPs, bytes and received bytes in closed form, for `phases.estimate`; their memory is unknown."""
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

  def reduced(tokens: float, times: int) -> float:  # all-reduces of activations over tensor, `times` a layer
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
  moved = passes * c.num_hidden_layers * local * wide * item
  moved += passes * 2 * w * item / t + 3 * size.gradients  # gathered weights written and read; gradients added
  wire = 2 * ring(w * item / t, f) + ring(w * item / t, f)  # gathered forward and backward; gradients scattered
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


def divides(shape: Qwen2Config, d: int, f: int, t: int) -> bool:
  """Whether a mesh cuts the model evenly; few key/value heads are copied."""
  c = shape
  kv = c.num_key_value_heads
  return all(n % t == 0 for n in (c.num_attention_heads, c.vocab_size, c.intermediate_size)) and (
    c.hidden_size % f == 0 and (kv % t == 0 or t > kv)
  )


def meshes(shape: Qwen2Config, chips: int) -> list[tuple[int, int, int]]:
  """Every (data, fsdp, tensor) of `chips` that the model divides over."""
  return [
    (chips // (f * t), f, t)
    for t in range(1, chips + 1)
    for f in range(1, chips // t + 1)
    if chips % (f * t) == 0 and divides(shape, chips // (f * t), f, t)
  ]


def rows_for(config: Config, ways: int) -> list[int]:
  """Micro-batch rows worth trying: one, two, four a group of chips."""
  own = config.train.micro_batch
  return sorted({ways, 2 * ways, 4 * ways} | ({own} if own % ways == 0 else set()))


def slots_for(config: Config, ways: int) -> list[int]:
  """Slots worth trying: doublings, from one a group of chips to all responses of a step."""
  n = config.rollout.prompts * config.rollout.group
  return [s for s in (2**i for i in range(4, 15)) if s % ways == 0 and s <= math.ceil(n)]
