"""Run in a process of its own with eight CPU devices: steps and rollouts on meshes against those of one device.

`python -m tests.sharded CASE '{"argument": ...}'` prints what the case found as one JSON line; the tests judge it.
"""

import contextlib
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from srpo_jax.batch import make_micro_batches
from srpo_jax.cache import enable_compilation_cache
from srpo_jax.learner import Learner, LearnerOptions, TrainState, make_optimizer
from srpo_jax.model import qwen2
from srpo_jax.model.sharding import make_mesh, param_shardings
from srpo_jax.types import Rollout
from tests.conftest import ROOT

LEARNING_RATE = 1e-3
MESHES = [(d, f, 8 // d // f) for d in (1, 2, 4, 8) for f in (1, 2, 4, 8) if d * f <= 8]
ROWS = 8  # of a micro-batch


def on_eight_devices(case: str, **arguments):
  """What a case finds, in a new process: the number of devices is settled when JAX starts."""
  env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
  command = [sys.executable, "-m", "tests.sharded", case, json.dumps(arguments)]
  done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-4000:]
  return json.loads(done.stdout)


def make_model(*, tied: bool, heads: int = 8, kv_heads: int = 2, layers: int = 2):
  """A model that every mesh of eight divides; weights and biases are all of a size that matters."""
  config = qwen2.Qwen2Config(64, 32, 48, layers, heads, kv_heads, 8, 1e4, 1e-6, tied)
  params = qwen2.init_params(config, jax.random.key(0))
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  noise = [0.2 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
  return config, jax.tree.map(jnp.add, params, jax.tree.unflatten(tree, noise))


def make_rollouts(n: int = 14) -> list[tuple[Rollout, float]]:
  """Responses of very different lengths, with advantages: micro-batches hold very different numbers of tokens."""
  rng = np.random.default_rng(0)
  made = []
  for i in range(n):
    prompt, length = rng.integers(0, 64, rng.integers(2, 9)), int(rng.choice([1, 3, 17, 2, 9, 5, 12]))
    tokens, logprobs = rng.integers(0, 64, length), rng.normal(-4, 1, length)
    rollout = Rollout(str(i), 0, prompt.astype(np.int32), tokens.astype(np.int32), logprobs.astype(np.float32), False)
    made.append((rollout, float(rng.normal())))
  return made


@contextlib.contextmanager
def on_mesh(shape):
  """The ambient mesh of `shape`, or none for a single device."""
  mesh = make_mesh(*shape)
  with jax.set_mesh(mesh) if mesh else contextlib.nullcontext():
    yield mesh


def place(params, mesh):
  """A copy of the parameters where training wants them."""
  return jax.device_put(jax.tree.map(np.asarray, params), param_shardings(params, mesh))


def make_learner(config):
  adamw = make_optimizer(learning_rate=LEARNING_RATE, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  return Learner(config, adamw, LearnerOptions(head_chunk=4, remat="full"))


def host(tree):
  return jax.tree.map(np.asarray, jax.device_get(tree))


def step(config, params, shape, *, wrong=""):
  """(gradients, new state, how many sharding constraints the gradient's program states) of one update on a mesh."""
  batches = make_micro_batches(make_rollouts(), rows=ROWS, length_bucket=4)
  n_tokens = sum(int(batch.in_loss.sum()) for batch in batches)
  with on_mesh(shape) as mesh:
    learner, grads = make_learner(config), None
    placed = place(params, mesh)
    for batch in batches:
      grads = learner._zeros(placed) if grads is None else grads
      n = int(batch.in_loss.sum()) * len(batches) if wrong == "per micro-batch" else n_tokens
      grads, _ = learner.accumulate(placed, grads, batch, np.float32(n))
    text = learner.accumulate.lower(placed, grads, batches[0], np.float32(1)).as_text()
    state = learner.init(placed)
    if wrong:  # the accumulation above is the wrong one, or the update that changes nothing
      state = learner._apply(state, grads)[0] if wrong == "per micro-batch" else state
    else:
      before = jax.tree.leaves(state)
      state, _ = learner.update(state, batches, n_tokens)
      assert all(leaf.is_deleted() for leaf in before), "the old state outlived the update"
    expected = param_shardings(state, mesh)
    jax.tree.map(lambda leaf, sharding: _assert_sharding(leaf, sharding), (state, grads), (expected, expected.params))
    return host(grads), host(state), text.count("sharding_constraint")


def _assert_sharding(leaf, sharding):
  assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), (leaf.shape, leaf.sharding, sharding)


def deviation(got, expected):
  """The largest over leaves, relative to the leaf's largest magnitude."""
  pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
  return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def update_deviation(params, got: TrainState, expected: TrainState, grads):
  """The largest difference of an update, in learning rates, where the gradient exceeds 1e-4 of its leaf's largest."""
  largest = 0.0
  for old, a, b, g in zip(*map(jax.tree.leaves, (params, got.params, expected.params, grads)), strict=True):
    strong = np.abs(g) > 1e-4 * np.abs(g).max()
    largest = max(largest, float(np.abs((a - old) - (b - old))[strong].max()) / LEARNING_RATE)
  return largest


def case_step(shapes, tied, layers=2, kv_heads=2, wrong=""):
  """mesh -> its largest deviations from one device."""
  config, params = make_model(tied=tied, layers=layers, kv_heads=kv_heads)
  params = host(params)
  grads, state, constraints = step(config, params, (1, 1, 1))
  assert constraints == 0
  found = {}
  for shape in shapes:
    got_grads, got, constraints = step(config, params, shape, wrong=wrong)
    moments = [optax.tree.get(s.opt_state, name) for s in (got, state) for name in ("mu", "nu")]
    found["x".join(map(str, shape))] = {
      "gradients": deviation(got_grads, grads),
      "moments": deviation(moments[:2], moments[2:]),
      "updates": update_deviation(params, got, state, grads),
      "constraints": constraints,
    }
  return found


if __name__ == "__main__":
  enable_compilation_cache()
  print(json.dumps(globals()[f"case_{sys.argv[1]}"](**json.loads(sys.argv[2]))))
