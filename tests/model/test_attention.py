"""Compares every attention implementation with XLA's. test_transformer.py compares XLA's with transformers."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo  # its checks of the GPU are patched, since there is no GPU here
from jax.sharding import AbstractDevice

from srpo_jax.model import attention, decode, transformer
from srpo_jax.model.attention import cached_attention, xla_attention, xla_cached_attention
from srpo_jax.model.kernels import cudnn
from srpo_jax.model.kernels.paged import PAGE, paged_attention
from srpo_jax.model.kernels.splash import BLOCKS, block_size, splash_attention
from srpo_jax.model.kernels.target import target_device
from srpo_jax.rollout.engine import InProcessEngine
from tests.helpers.kernels import HOPPER, TPU, as_on, hostile_segments, interpreted, output_and_gradients, random_qkv
from tests.helpers.sharded import on_eight_devices

interpreted_splash = functools.partial(splash_attention, interpret=True)


def relative(got, expected):
  """Returns the largest difference, relative to the largest magnitude."""
  return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
  ("length", "heads", "kv_heads", "dim"),
  [
    (200, 4, 2, 16),
    pytest.param(128, 5, 1, 64, marks=pytest.mark.slow),
    pytest.param(300, 4, 4, 128, marks=pytest.mark.slow),
  ],
)
def test_splash_equals_xla_forward_and_backward(length, heads, kv_heads, dim):
  segments = hostile_segments(length)
  qkv = random_qkv(4, length, heads, kv_heads, dim)
  expected = output_and_gradients(xla_attention, *qkv, segments)
  for got, want in zip(output_and_gradients(interpreted_splash, *qkv, segments), expected, strict=True):
    assert relative(got, want) < 1e-5
  everywhere = jax.jit(interpreted_splash)(*qkv, segments)
  assert jnp.isfinite(everywhere).all()


def test_splash_in_bf16_is_as_accurate_as_xla():
  """Scores and statistics in bf16 would have several times the error of rounding inputs and results."""
  segments = hostile_segments(128)
  q, k, v = random_qkv(4, 128, 2, 1, 64, jnp.bfloat16)
  wide = output_and_gradients(xla_attention, *(x.astype(jnp.float32) for x in (q, k, v)), segments)
  xla = output_and_gradients(xla_attention, q, k, v, segments)
  got = output_and_gradients(interpreted_splash, q, k, v, segments)
  for exact, reference, ours in zip(wide, xla, got, strict=True):
    assert relative(ours, exact) < 0.01 and relative(ours, exact) < 2 * relative(reference, exact)


@pytest.mark.slow  # 25 s
def test_model_gradient_with_splash_equals_xla():
  """Covers the scan over layers and the forward pass that remat repeats."""
  config = transformer.TransformerConfig(64, 32, 48, 5, 4, 2, 16, 1e4, 1e-6, True)
  params = transformer.init_params(config, jax.random.key(0))
  segments = hostile_segments(140)
  tokens = np.random.default_rng(0).integers(0, 64, segments.shape).astype(np.int32)

  def gradient():
    def loss(params):
      hidden = transformer.forward(params, config, tokens, jnp.arange(140)[None] + 0 * tokens, segments, remat="full")
      return jnp.sum(jnp.where(segments[..., None] > 0, hidden, 0) * jnp.sin(jnp.arange(32)))

    return jax.jit(jax.grad(loss))(params)

  expected = gradient()
  with interpreted(), as_on(TPU):
    got = gradient()
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    assert relative(a, b) < 1e-4


@pytest.mark.parametrize("length", [1, 100, 128, 129, 512, 1025, 4096, 4608, 8705, 11_264, 12_000])
def test_blocks_pad_little(length):
  b = block_size(length)
  padded = -(-length // b) * b
  assert b in BLOCKS and (padded <= length * 9 / 8 or b == 128)
  assert b == 1024 or length < 8 * 1024  # long rows use the largest block


def random_cache(slots, heads, kv_heads, positions, dim=128, layers=2):
  rng = np.random.default_rng(0)
  q = jnp.asarray(rng.normal(size=(slots, heads, dim)), jnp.bfloat16)
  k, v = (jnp.asarray(rng.normal(size=(slots, layers, kv_heads, positions, dim)), jnp.bfloat16) for _ in range(2))
  return q, k, v


@pytest.mark.parametrize(
  ("heads", "kv_heads", "positions", "cores"), [(10, 2, 1024, 1), (5, 1, 640, 2), (8, 1, 128, 1)]
)
def test_paged_kernel_equals_xla(heads, kv_heads, positions, cores):
  q, k, v = random_cache(4, heads, kv_heads, positions)
  lengths = jnp.array([positions, 1, positions // 2 + 3, 128], jnp.int32)
  with interpreted():
    run = jax.jit(functools.partial(paged_attention, cores=cores))
    for layer in (0, 1):
      got = run(q, k, v, lengths, jnp.int32(layer), jnp.arange(kv_heads)).astype(jnp.float32)
      exact = xla_cached_attention(*(x.astype(jnp.float32) for x in (q, k[:, layer], v[:, layer])), lengths)
      assert relative(got, exact) < 0.01


def poisoned(k, lengths, unit):
  """Returns the cache with NaN past the last unit of positions that each slot's length reaches."""
  first = -(-lengths // unit) * unit
  return jnp.where(jnp.arange(k.shape[3])[:, None] < first[:, None, None, None, None], k, jnp.nan).astype(k.dtype)


def test_no_page_past_a_slots_length_is_read():
  q, k, v = random_cache(4, 4, 2, 4 * PAGE)
  lengths = jnp.array([3, PAGE, PAGE + 1, 4 * PAGE], jnp.int32)
  bad_k, bad_v = poisoned(k, lengths, PAGE), poisoned(v, lengths, PAGE)
  with interpreted():
    run = jax.jit(functools.partial(paged_attention, cores=1))
    rest = lengths, jnp.int32(1), jnp.arange(2)
    np.testing.assert_array_equal(run(q, bad_k, bad_v, *rest), run(q, k, v, *rest))
  assert not jnp.isfinite(xla_cached_attention(q, bad_k[:, 1], bad_v[:, 1], lengths)).all()  # XLA reads all


def test_sizes_of_a_cache_are_few():
  sizes = [256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 5000]
  assert attention.cache_sizes(5000) == sizes
  assert attention.cache_sizes(256) == [256] and attention.cache_sizes(20) == [20]
  with as_on(HOPPER):
    assert attention.cache_sizes(5000) == sizes
  with as_on(TPU):
    assert attention.cache_sizes(5000) == [5000]


def small_engine(positions):
  """Returns parameters of a random model, and an engine with a cache of at most so many positions."""
  config = transformer.TransformerConfig(64, 32, 48, 2, 4, 2, 8, 1e4, 1e-6, True)
  params = transformer.init_params(config, jax.random.key(0))
  return params, InProcessEngine(config, slots=2, max_prompt=8, max_new=positions - 8, chunk=4, stop_tokens=())


def decoded(positions, n_chunks=3, *, resized=None):
  """Returns the log-probs of tokens decoded greedily after a prompt of 8, and the size of the cache at each chunk.

  Args:
    resized: number of positions of the cache before the first token. None: as the engine makes it.
  """
  params, engine = small_engine(positions)
  prefix = engine.prefill(params=params, padded_tokens=np.arange(8), true_length=8, temperature=0.0)
  state = engine.insert(prefix, engine.init_decode_state(), 1)
  if resized:
    state = decode.resize_cache(decode.resize_cache(state, resized), engine.cache_sizes()[0])
  found, sizes = [], []
  for _ in range(n_chunks):
    state, _ = engine.generate(params, state)
    found.append(np.asarray(state.logprobs[1]))
    sizes.append(state.k[0].shape[2])
  return np.concatenate(found), sizes


def test_log_probs_do_not_depend_on_the_size_of_the_cache():
  expected, _ = decoded(20)
  for positions in (29, 1000, 4032):
    np.testing.assert_allclose(decoded(positions)[0], expected, rtol=1e-6)


@pytest.mark.slow  # the flags with which the fast tests compile reorder sums
def test_log_probs_have_the_same_bits_with_every_size_of_the_cache():
  expected, _ = decoded(20)
  for positions in (29, 1000, 4032):
    np.testing.assert_array_equal(decoded(positions)[0], expected)


def test_a_resized_cache_keeps_the_positions_in_use():
  expected, _ = decoded(700)
  np.testing.assert_array_equal(decoded(700, resized=640)[0], expected)
  np.testing.assert_array_equal(decoded(700, resized=8)[0], expected)
  assert not np.array_equal(decoded(700, resized=7)[0], expected)


def test_the_cache_follows_the_longest_response():
  long, sizes = decoded(700, n_chunks=66)  # 264 tokens after a prompt of 8
  assert sizes == [256] * 62 + [384] * 4
  config = transformer.TransformerConfig(64, 32, 48, 2, 4, 2, 8, 1e4, 1e-6, True)
  params = transformer.init_params(config, jax.random.key(0))
  tokens, positions = np.arange(8).tolist(), np.arange(272)[None]
  forward = jax.jit(
    lambda row: transformer.logits(params, transformer.forward(params, config, row, positions, np.ones_like(positions)))
  )
  expected = []
  for _ in range(264):
    row = np.zeros((1, 272), np.int32)
    row[0, : len(tokens)] = tokens
    logprobs = jax.nn.log_softmax(forward(row)[0, len(tokens) - 1])
    tokens.append(int(logprobs.argmax()))
    expected.append(float(logprobs.max()))
  np.testing.assert_allclose(long, expected, atol=1e-4)


def test_the_cache_shrinks_once_a_long_response_has_ended():
  params, engine = small_engine(700)
  sizes = []
  state = engine.init_decode_state()
  for slot, new in ((0, 300), (1, 320)):
    prefix = engine.prefill(
      params=params, padded_tokens=np.arange(8), true_length=8, temperature=0.0, max_new_tokens=new
    )
    state = engine.insert(prefix, state, slot)
    if slot == 0:  # the other starts when the first is 296 tokens long
      for _ in range(74):
        state, _ = engine.generate(params, state)
      assert state.k[0].shape[2] == 384
  found = []
  while state.active.any():
    state, _ = engine.generate(params, state)
    sizes.append(state.k[0].shape[2])
    found.append(np.asarray(state.logprobs[1]))
  assert sizes == [384] + [256] * 61 + [384] * 18
  np.testing.assert_allclose(np.concatenate(found), decoded(700, n_chunks=80)[0], atol=1e-5)


@pytest.mark.parametrize("rows", [slice(0, 4), slice(2, 4)], ids=["packed and left-padded", "one sequence per row"])
def test_arguments_for_cudnn_give_the_result_of_xla(monkeypatch, rows):
  """Passes the arguments for cuDNN to the XLA implementation of the same function, because cuDNN needs a GPU."""
  asked = []
  by_xla = jax.nn.dot_product_attention

  def ask(*arguments, implementation, **options):
    assert implementation == "cudnn"
    asked.append(sorted(options))
    return by_xla(*arguments, implementation="xla", **options)

  monkeypatch.setattr(jax.nn, "dot_product_attention", ask)
  segments = hostile_segments(64)[rows]
  qkv = random_qkv(len(segments), 64, 6, 2, 16)
  expected = output_and_gradients(xla_attention, *qkv, segments)
  for got, want in zip(output_and_gradients(cudnn.cudnn_attention, *qkv, segments), expected, strict=True):
    assert relative(got, want) < 1e-5
  assert ["mask"] in asked and ["is_causal", "key_value_seq_lengths", "query_seq_lengths"] in asked


def test_the_program_for_a_gpu_has_cudnns_kernels(monkeypatch):
  """The program, lowered without a GPU, has cuDNN's kernels for lengths and for masks, and no scores of XLA."""
  monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91_100)
  monkeypatch.setattr(fused_attention_stablehlo, "check_compute_capability", lambda capability: True)
  q, k, v = random_qkv(2, 96, 4, 2, 64, jnp.bfloat16)

  def loss(q, k, v, segments):
    return jnp.sum(attention.causal_attention(q, k, v, segments).astype(jnp.float32))

  with as_on(HOPPER):
    traced = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(q, k, v, hostile_segments(96)[:2])
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
  called = sorted(re.findall(r"__cudnn\$(\w+)", program))
  assert called == ["fmhaScaleBiasSoftmax", "fmhaScaleBiasSoftmaxBackward", "fmhaSoftmax", "fmhaSoftmaxBackward"]
  assert "PADDING_CAUSAL" in program and "96x96xf32" not in program


def test_rows_of_one_sequence_make_no_mask(monkeypatch):
  """A result that uses the mask becomes NaN. Rows of one sequence stay finite, so they do not use it."""
  by_xla = jax.nn.dot_product_attention

  def no_masks(*arguments, implementation, mask=None, **options):
    out = by_xla(*arguments, implementation="xla", mask=mask, **options)
    return out if mask is None else out * jnp.nan

  monkeypatch.setattr(jax.nn, "dot_product_attention", no_masks)
  qkv, segments = random_qkv(4, 64, 6, 2, 16), hostile_segments(64)
  run = jax.jit(cudnn.cudnn_attention)
  assert jnp.isfinite(run(*(x[2:] for x in qkv), segments[2:])).all()
  assert not jnp.isfinite(run(*qkv, segments)).all()


@pytest.mark.parametrize(
  ("device", "shape", "dtype", "name"),
  [
    (TPU, (1, 100, 4, 64), jnp.float32, "splash_attention"),
    (HOPPER, (1, 100, 4, 64), jnp.bfloat16, "cudnn_attention"),
    (HOPPER, (1, 100, 4, 64), jnp.float32, None),
    (HOPPER, (1, 101, 4, 64), jnp.bfloat16, None),
    (HOPPER, (1, 100, 4, 12), jnp.bfloat16, None),
    (HOPPER, (1, 100, 4, 256), jnp.bfloat16, None),
    (AbstractDevice(device_kind="AMD", num_cores=None, platform="gpu"), (1, 100, 4, 64), jnp.bfloat16, None),
    (AbstractDevice(device_kind="cpu", num_cores=None, platform="cpu"), (1, 100, 4, 64), jnp.bfloat16, None),
  ],
)
def test_choice_of_the_row_kernel(device, shape, dtype, name):
  with as_on(device):
    kernel = attention._row_kernel(jnp.zeros(shape, dtype))
  assert getattr(kernel, "__name__", None) == name


def test_on_a_cpu_nothing_but_xla_is_traced():
  """The CPU program stays bit-exact. A bucket or a kernel would change the last bits."""
  assert target_device().platform == "cpu"
  q, k, v = random_cache(2, 4, 2, 700, dim=16, layers=1)
  lengths = jnp.array([3, 5], jnp.int32)
  same = [str(jax.make_jaxpr(f)(q, k[:, 0], v[:, 0], lengths)) for f in (cached_attention, xla_cached_attention)]
  assert same[0] == same[1]


def test_softmax_statistics_are_fp32():
  """No exponential, sum or maximum of an attention's scores is taken in bf16."""
  q, k, v = random_qkv(1, 128, 2, 1, 16, jnp.bfloat16)
  cache = random_cache(2, 2, 1, 128)
  reads = jnp.ones(2, jnp.int32), jnp.int32(0), jnp.arange(1)
  with interpreted():
    traced = [
      jax.make_jaxpr(xla_attention)(q, k, v, jnp.ones((1, 128), jnp.int32)),
      jax.make_jaxpr(interpreted_splash)(q, k, v, jnp.ones((1, 128), jnp.int32)),
      jax.make_jaxpr(functools.partial(paged_attention, cores=1))(*cache, *reads),
    ]
  for program in traced:
    text = str(program)
    exponentials = [line for line in text.splitlines() if "= exp" in line]
    assert exponentials and all("f32[" in line and "bf16[" not in line.split("=")[0] for line in exponentials)


TOKENS, STEPS = np.array([9, 30, 77, 12, 5], np.int32), 4


def greedy(config, params, slots=2):
  """Returns (type of the cache, tokens, log-probs) of a greedy response in bf16, with the device's kind of cache."""
  prefix = jax.jit(functools.partial(decode.prefill, config=config, dtype=jnp.bfloat16))(
    params,
    tokens=jnp.pad(TOKENS, (0, 3)),
    length=jnp.int32(len(TOKENS)),
    key=jax.random.key(0),
    max_new_tokens=jnp.int32(STEPS),
    temperature=jnp.float32(0),
  )
  state = decode.init_state(config, slots, 8 + STEPS, STEPS, jnp.bfloat16)
  state = jax.jit(decode.insert)(prefix, state, jnp.array([1]), jnp.array([0]))
  generate = functools.partial(decode.generate, config=config, stop_tokens=(), dtype=jnp.bfloat16)
  state, out = jax.jit(generate)(params, state=state)
  return type(state.k), np.asarray(out.tokens[1]), np.asarray(state.logprobs[1])


def test_decoding_by_kernels_over_one_cache_of_all_layers():
  """Compares the TPU's way with the CPU's: splash prefill, and a loop over layers with paged, padded heads."""
  config = transformer.TransformerConfig(128, 64, 96, 2, 6, 2, 16, 1e4, 1e-6, False)
  params = transformer.init_params(config, jax.random.key(0))
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  kind, tokens, logprobs = greedy(config, params)
  assert kind is list
  with interpreted(), as_on(TPU):
    kind, got_tokens, got_logprobs = greedy(config, params)
  assert kind is not list
  np.testing.assert_array_equal(got_tokens, tokens)
  np.testing.assert_allclose(got_logprobs, logprobs, atol=0.02)


@pytest.mark.parametrize(
  ("mesh", "heads", "kv_heads"),
  [
    pytest.param(
      [1, 2, 4], 12, 3, marks=pytest.mark.slow
    ),  # a device has all key/value heads, and its query heads read them unevenly
    pytest.param([1, 1, 8], 8, 2, marks=pytest.mark.slow),  # a device has all, and its one query head reads one
    pytest.param([2, 2, 2], 8, 2, marks=pytest.mark.slow),  # a device has only its own key/value heads
  ],
)
def test_kernels_on_eight_devices_equal_xla_on_one(mesh, heads, kv_heads):
  found = on_eight_devices("attention", mesh=mesh, heads=heads, kv_heads=kv_heads)
  assert found["splash"] < 1e-5 and found["paged"] < 0.01, found
