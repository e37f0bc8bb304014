"""Checks programs compiled for a TPU that this machine does not have, for their kernels and for unwanted copies."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import pytest

from srpo_jax.model import attention, decode, transformer
from srpo_jax.model.sharding import SERVING_RULES
from tests.helpers.kernels import abstract, abstract_params, topology_mesh, without_compilation_cache

LENGTH = 384  # tokens of a row; the model has no other axis of this size
CONFIG = transformer.TransformerConfig(512, 256, 640, 5, 4, 2, 64, 1e4, 1e-6, False)
# Neither the layers' weights nor a cache of this model fit into on-chip memory, where copies would go unseen.
LARGE = transformer.TransformerConfig(512, 1024, 4096, 12, 8, 2, 64, 1e4, 1e-6, False)
SLOTS, POSITIONS = 16, 16_384


@pytest.fixture
def mesh():
  """Mesh of a v5p host with four chips of two cores, fsdp 2 x tensor 2."""
  mesh = topology_mesh("v5p:2x2x1", (1, 2, 2))
  with without_compilation_cache(), jax.set_mesh(mesh):
    yield mesh


def shapes(config=CONFIG):
  return jax.eval_shape(lambda: transformer.init_params(config, jax.random.key(0)))


def gradient_program(mesh) -> str:
  """Compiles the gradient of a sum of hidden states with training's rematerialisation. Returns its HLO text."""

  def loss(params, tokens):
    hidden = transformer.forward(params, CONFIG, tokens, tokens, tokens, dtype=jnp.bfloat16, remat="full")
    return jnp.sum(hidden.astype(jnp.float32))

  tokens = abstract(jax.ShapeDtypeStruct((4, LENGTH), jnp.int32), mesh, "batch", "length")
  return jax.jit(jax.grad(loss)).lower(abstract_params(shapes(), mesh), tokens).compile().as_text()


def decode_program(mesh):
  """Compiles a chunk of decoding with bf16 weights and a bf16 cache, as in rollouts."""
  serving = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), shapes(LARGE))
  state = jax.eval_shape(lambda: decode.init_state(LARGE, SLOTS, POSITIONS, 4, jnp.bfloat16))
  state = jax.tree.map(lambda x: abstract(x, mesh, "batch", *(None,) * (x.ndim - 1)), state)
  state = state._replace(**{name: abstract(getattr(state, name), mesh, *attention.STACKED_CACHE) for name in "kv"})
  generate = functools.partial(decode.generate, config=LARGE, stop_tokens=(1,), dtype=jnp.bfloat16)
  lowered = jax.jit(generate, donate_argnames="state").lower(abstract_params(serving, mesh, SERVING_RULES), state=state)
  return lowered.compile()


def kernels(program: str) -> list[str]:
  """Returns the name of each kernel call."""
  lines = [line for line in program.splitlines() if 'custom_call_target="tpu_custom_call"' in line]
  return [line.split(" = ")[0].strip().removeprefix("ROOT ").strip("%").rsplit(".", 1)[0] for line in lines]


def has_scores(program: str) -> bool:
  return bool(re.search(rf"[\[,]{LENGTH},{LENGTH}[\],]", program))


def test_training_runs_the_splash_kernels_and_has_no_scores(mesh):
  program = gradient_program(mesh)
  forward, again = ["splash_mha_fwd_segmented_residuals"] * 2  # remat runs the forward kernel again
  backward = ["splash_mha_dkv_segmented_no_residuals", "splash_mha_dq_segmented_no_residuals"]
  assert sorted(kernels(program)) == sorted([forward, again, *backward])  # in the loops over layers
  assert not has_scores(program)


@pytest.mark.slow  # 10 s
def test_scores_would_be_detected(mesh, monkeypatch):
  monkeypatch.setattr(attention, "_row_kernel", lambda q: None)
  program = gradient_program(mesh)
  assert has_scores(program) and not kernels(program)


# A device holds one key/value head over tensor 2, both over fsdp 4, and copies of both over tensor 4.
@pytest.mark.parametrize(
  ("fsdp", "tensor", "heads"), [(2, 2, 1), (4, 1, 2), pytest.param(1, 4, 2, marks=pytest.mark.slow)]
)
def test_decoding_runs_the_paged_kernel_and_copies_neither_cache_nor_weights(fsdp, tensor, heads):
  mesh = topology_mesh("v5p:2x2x1", (1, fsdp, tensor))
  with without_compilation_cache(), jax.set_mesh(mesh):
    compiled = decode_program(mesh)
  program = compiled.as_text()
  assert kernels(program) == ["paged_attention"]  # once, in the loop over layers
  held = SLOTS // fsdp, LARGE.num_hidden_layers, heads, POSITIONS, 128
  cache = f"bf16[{','.join(map(str, held))}]"
  assert cache in program  # a device's cache has only its own slots and heads, and features padded to whole registers
  made = [line for line in program.splitlines() if re.search(rf"= {re.escape(cache)}\S* (copy|transpose)\(", line)]
  assert not made
  sizes = compiled.memory_analysis()
  assert sizes.alias_size_in_bytes >= 2 * 2 * math.prod(held)  # k and v are updated in place
  weights = sum(x.size for x in jax.tree.leaves(shapes(LARGE)["layers"])) * 2 // tensor  # bytes on a device, in bf16
  assert sizes.temp_size_in_bytes < weights / 2  # a copy of the weights or of the cache would take more
