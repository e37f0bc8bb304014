"""Compares FLOPs of traced programs with closed forms, without compiling anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from srpo_jax.model import hf
from srpo_jax.model.kernels.splash import block_size, splash_attention
from srpo_jax.planning.flops import count_flops
from srpo_jax.planning.phases import model_flops
from srpo_jax.planning.shapes import known_names, n_matmul_parameters, n_parameters, published_shape
from srpo_jax.training.batch import empty_micro_batch
from srpo_jax.training.learner import Learner, LearnerOptions, make_optimizer

ROWS, LENGTH = 4, 1024


def accumulate_flops(shape, *, remat):
  """Returns the FLOPs of a micro-batch's forward and backward pass, as training traces it on this machine's CPU."""
  options = LearnerOptions(dtype=jnp.bfloat16, remat=remat, head_chunk=256)
  adamw = make_optimizer(learning_rate=1e-6, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  learner = Learner(shape, adamw, options)
  params = hf.param_shapes(shape, jnp.float32)
  batch = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, empty_micro_batch(ROWS, LENGTH, LENGTH)))
  return count_flops(learner.accumulate.trace(params, params, batch, np.float32(1), np.float32(1)).jaxpr)


def closed_form(shape, *, remat):
  """Returns the FLOPs of the update: 2 per parameter, token and pass.

  There is one forward pass, two passes' worth of backward, and with full remat a second forward pass. The second
  forward pass stops before a layer's last product, whose result nothing needs. The head's chunks are always
  rematerialised. XLA's attention on a CPU computes the whole square, twice the causal half.
  """
  c, tokens = shape, ROWS * LENGTH
  head = c.vocab_size * c.hidden_size
  down = c.num_hidden_layers * c.hidden_size * c.intermediate_size
  layers = n_matmul_parameters(c) - head
  square = 4.0 * c.num_hidden_layers * c.num_attention_heads * c.head_dim * ROWS * LENGTH**2
  again = remat == "full"
  return 2.0 * tokens * ((3 + again) * layers - again * down + 4 * head) + (3 + again) * square


@pytest.mark.parametrize("name", ["Qwen2.5-0.5B", "Qwen2.5-7B", "Qwen2.5-32B", "Qwen3-0.6B", "Llama-3.2-1B"])
@pytest.mark.parametrize("remat", ["none", "full"])
def test_the_update_is_within_two_percent_of_the_closed_form(name, remat):
  shape = published_shape(name)
  assert accumulate_flops(shape, remat=remat) == pytest.approx(closed_form(shape, remat=remat), rel=0.02)


def test_model_flops_are_three_forwards_with_half_the_square():
  shape = published_shape("Qwen2.5-7B")
  forward = 2.0 * n_matmul_parameters(shape) * 3000 + 4.0 * 28 * 28 * 128 * (1000**2 + 2000**2) / 2
  assert model_flops(shape, 3000, 1000**2 + 2000**2, backward=True) == pytest.approx(3 * forward)


@pytest.mark.parametrize("length", [200, 2048, 11_264])
def test_splash_by_blocks_on_or_below_the_diagonal(length):
  heads, kv_heads, dim, rows = 10, 2, 128, 2
  struct = lambda *s: jax.ShapeDtypeStruct(s, jnp.bfloat16)  # noqa: E731
  q, k = struct(rows, length, heads, dim), struct(rows, length, kv_heads, dim)
  segments = jax.ShapeDtypeStruct((rows, length), jnp.int32)
  n = -(-length // block_size(length))
  blocks = n * (n + 1) / 2 * block_size(length) ** 2 * rows * heads

  def total(q, k, v, segments):
    return splash_attention(q, k, v, segments).astype(jnp.float32).sum()

  forward = count_flops(jax.jit(splash_attention).trace(q, k, k, segments).jaxpr)
  assert forward == 2 * 2 * blocks * dim
  both = count_flops(jax.jit(jax.grad(total, (0, 1, 2))).trace(q, k, k, segments).jaxpr)
  # The forward pass has 2 products, dk and dv 4, dq 3. One more, output times its gradient, is only [length, dim].
  assert both == pytest.approx(9 * 2 * blocks * dim, rel=0.01)
  if length > 2048:
    assert forward == pytest.approx(4 * rows * heads * dim * length**2 / 2, rel=0.1)


def test_loops_and_branches():
  def product(x):
    return x @ x

  one = 2 * 8**3
  x = jax.ShapeDtypeStruct((8, 8), jnp.float32)

  def scanned(x):
    return jax.lax.scan(lambda c, _: (product(c), None), x, length=7)[0]

  def looped(x):
    return jax.lax.while_loop(lambda c: c.sum() > 0, product, x)

  def branched(x):
    return jax.lax.cond(x[0, 0] > 0, lambda: product(product(x)), lambda: product(x))

  assert count_flops(jax.jit(scanned).trace(x).jaxpr) == 7 * one
  assert count_flops(jax.jit(looped).trace(x).jaxpr, 5) == 5 * one
  assert count_flops(jax.jit(branched).trace(x).jaxpr) == 2 * one
  with pytest.raises(ValueError, match="depend on data"):
    count_flops(jax.jit(looped).trace(x).jaxpr)


def test_a_shard_counts_once_for_each_part_and_not_for_each_copy():
  mesh = AbstractMesh((2, 4), ("a", "b"))

  def f(x, w):
    return jax.shard_map(lambda x, w: x @ w, mesh=mesh, in_specs=(P("a"), P()), out_specs=P("a"))(x, w)

  x, w = jax.ShapeDtypeStruct((16, 8), jnp.float32), jax.ShapeDtypeStruct((8, 32), jnp.float32)
  assert count_flops(jax.jit(f).trace(x, w).jaxpr) == 2 * 16 * 8 * 32


# Number of parameters in the safetensors files on each model's page. Those of Qwen3-0.6B and 1.7B also store the tied
# head, which counts once here.
PUBLISHED = {
  "Qwen/Qwen2.5-0.5B": 494_032_768,
  "Qwen/Qwen2.5-1.5B": 1_543_714_304,
  "Qwen/Qwen2.5-3B": 3_085_938_688,
  "Qwen/Qwen2.5-7B": 7_615_616_512,
  "Qwen/Qwen2.5-14B": 14_770_033_664,
  "Qwen/Qwen2.5-32B": 32_763_876_352,
  "Qwen/Qwen2.5-72B": 72_706_203_648,
  "Qwen/Qwen3-0.6B": 751_632_384 - 151_936 * 1024,
  "Qwen/Qwen3-1.7B": 2_031_739_904 - 151_936 * 2048,
  "Qwen/Qwen3-4B": 4_022_468_096,
  "Qwen/Qwen3-8B": 8_190_735_360,
  "Qwen/Qwen3-14B": 14_768_307_200,
  "Qwen/Qwen3-32B": 32_762_123_264,
  "meta-llama/Llama-3.2-1B": 1_235_814_400,
  "meta-llama/Llama-3.2-3B": 3_212_749_824,
  "meta-llama/Llama-3.1-8B": 8_030_261_248,
  "meta-llama/Llama-3.1-70B": 70_553_706_496,
  "meta-llama/Llama-3.3-70B-Instruct": 70_553_706_496,
  "HuggingFaceTB/SmolLM2-135M": 134_515_008,
  "HuggingFaceTB/SmolLM2-360M": 361_821_120,
  "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
}


def test_published_shapes_have_the_published_numbers_of_parameters():
  assert known_names().split(", ") == list(PUBLISHED)
  for name, total in PUBLISHED.items():
    shape = published_shape(name)
    counted = sum(leaf.size for leaf in jax.tree.leaves(hf.param_shapes(shape, jnp.float32)))
    assert n_parameters(shape) == counted == total, name


def test_variants_of_a_published_model_share_its_shape():
  variants = {
    "Qwen2.5-7B": ("models/Qwen2.5-Math-7B", "Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen2.5-7B-Instruct"),
    "Qwen3-4B": ("Qwen/Qwen3-4B-Base", "Qwen3-4B-Instruct-2507", "Qwen3-4B-Thinking-2507"),
    "Llama-3.1-8B": ("meta-llama/Llama-3.1-8B-Instruct", "Meta-Llama-3.1-8B"),
    "SmolLM2-135M": ("HuggingFaceTB/SmolLM2-135M-Instruct",),
  }
  for plain, names in variants.items():
    assert {published_shape(name) for name in names} == {published_shape(plain)}
  for name in ("Qwen2-7B", "Qwen2.5-VL-7B", "Qwen2.5-7B-Instruct-AWQ", "Qwen2.5-Omni-7B", "7B"):
    assert published_shape(name) is None
  for name in ("Qwen3-30B-A3B", "Qwen3-8B-FP8", "Llama-3.2-11B-Vision", "Llama-3-8B", "Qwen3-7B", "SmolLM-135M"):
    assert published_shape(name) is None
