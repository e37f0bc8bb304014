"""Compares steps and rollouts on meshes of eight CPU devices with those on one device, in a process of its own.

`python -m tests.helpers.sharded CASE '{"argument": ...}'` prints the measurements of the case as one JSON line.
The tests judge them.
"""

import contextlib
import functools
import hashlib
import importlib
import json
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from srpo_jax.model import attention, hf, transformer
from srpo_jax.model.kernels.splash import splash_attention
from srpo_jax.model.sampling import Purpose, prompt_key, uniforms
from srpo_jax.model.sharding import SERVING_RULES, make_mesh, param_shardings
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.training.batch import make_micro_batches
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.learner import Learner, LearnerOptions, TrainState, make_optimizer
from srpo_jax.training.loop import train
from srpo_jax.training.run import Run
from srpo_jax.training.shared_batch import share_micro_batches
from srpo_jax.training.workdir import read_rows
from srpo_jax.types import Rollout
from srpo_jax.utils.cache import enable_compilation_cache
from tests.helpers.kernels import hostile_segments, interpreted, output_and_gradients, random_qkv
from tests.helpers.paths import ROOT
from tests.helpers.processes import cpu_devices
from tests.helpers.runs import toy

LEARNING_RATE = 1e-3
MESHES = [(d, f, 8 // d // f) for d in (1, 2, 4, 8) for f in (1, 2, 4, 8) if d * f <= 8]
ROWS = 8  # rows per micro-batch


def on_eight_devices(case: str, **arguments):
  """Runs a case in a new process, because JAX fixes the number of devices when it starts. Returns its measurements."""
  command = [sys.executable, "-m", "tests.helpers.sharded", case, json.dumps(arguments)]
  done = subprocess.run(command, env=cpu_devices(8), cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-4000:]
  return json.loads(done.stdout)


def make_model(*, tied: bool, heads: int = 8, kv_heads: int = 2, layers: int = 2, qk_norm: bool = False):
  """Makes a model that every mesh of eight devices divides, with weights and biases large enough to matter.

  With `qk_norm` it has norms of queries and keys instead of biases, and scaled rotary frequencies.
  """
  scaling = transformer.RopeScaling(8.0, 1.0, 4.0, 16) if qk_norm else None
  config = transformer.TransformerConfig(
    64, 32, 48, layers, heads, kv_heads, 8, 1e4, 1e-6, tied, not qk_norm, qk_norm, scaling
  )
  params = transformer.init_params(config, jax.random.key(0))
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  noise = [0.2 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
  return config, jax.tree.map(jnp.add, params, jax.tree.unflatten(tree, noise))


def make_rollouts(n: int = 14, group: int = 1) -> list[tuple[Rollout, float]]:
  """Makes responses with advantages. Their lengths differ widely, so micro-batches hold different numbers of tokens.

  Args:
    group: responses per prompt.
  """
  rng = np.random.default_rng(0)
  made, prompt = [], None
  for i in range(n):
    if prompt is None or i % group == 0:
      prompt = rng.integers(0, 64, rng.integers(2, 9))
    length = int(rng.choice([1, 3, 17, 2, 9, 5, 12]))
    tokens, logprobs = rng.integers(0, 64, length), rng.normal(-4, 1, length)
    rollout = Rollout(str(i), 0, prompt.astype(np.int32), tokens.astype(np.int32), logprobs.astype(np.float32), False)
    made.append((rollout, float(rng.normal())))
  return made


@contextlib.contextmanager
def on_mesh(shape):
  """Sets and yields the ambient mesh of `shape`. Yields None for a single device."""
  mesh = make_mesh(*shape)
  with jax.set_mesh(mesh) if mesh else contextlib.nullcontext():
    yield mesh


def place(params, mesh):
  """Copies the parameters to the devices with the shardings of training."""
  return jax.device_put(jax.tree.map(np.asarray, params), param_shardings(params, mesh))


def make_learner(config):
  adamw = make_optimizer(learning_rate=LEARNING_RATE, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  return Learner(config, adamw, LearnerOptions(head_chunk=4, remat="full"))


def host(tree):
  return jax.tree.map(np.asarray, jax.device_get(tree))


def step(config, params, shape, *, wrong="", group=1, share=False):
  """Runs one update on a mesh.

  Args:
    group: responses per prompt.
    share: True for rows whose responses share their prompt.
    wrong: If not empty, the deliberate error to make: "per micro-batch" divides by each micro-batch's own tokens. Any
      other text skips the update.

  Returns:
    Gradients, new state, and the number of sharding constraints in the gradient's program.
  """
  rollouts = make_rollouts(group=group)
  n_responses = len(rollouts)
  if share:
    batches = share_micro_batches(rollouts, rows=2 * ROWS, length_bucket=4, row_multiple=math.prod(shape[:2]))
    assert all(batch.shared is not None for batch in batches)
  else:
    batches = make_micro_batches(rollouts, rows=ROWS, length_bucket=4)
  n_tokens = sum(int(batch.in_loss.sum()) for batch in batches)
  with on_mesh(shape) as mesh:
    learner, grads = make_learner(config), None
    placed = place(params, mesh)
    for batch in batches:
      grads = learner._zeros(placed) if grads is None else grads
      n = int(batch.in_loss.sum()) * len(batches) if wrong == "per micro-batch" else n_tokens
      grads, _ = learner.accumulate(placed, grads, batch, np.float32(n), np.float32(n_responses))
    text = learner.accumulate.lower(placed, grads, batches[0], np.float32(1), np.float32(1)).as_text()
    state = learner.init(placed)
    if wrong:  # either the gradients above are wrong, or the update is skipped
      state = learner._apply(state, grads)[0] if wrong == "per micro-batch" else state
    else:
      before = jax.tree.leaves(state)
      state, _ = learner.update(state, batches, n_tokens, n_responses)
      assert all(leaf.is_deleted() for leaf in before), "the old state outlived the update"
    expected = param_shardings(state, mesh)
    jax.tree.map(lambda leaf, sharding: _assert_sharding(leaf, sharding), (state, grads), (expected, expected.params))
    return host(grads), host(state), text.count("sharding_constraint")


def _assert_sharding(leaf, sharding):
  assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), (leaf.shape, leaf.sharding, sharding)


def deviation(got, expected):
  """Returns the largest deviation over all leaves, relative to the largest magnitude of the leaf."""
  pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
  return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def update_deviation(params, got: TrainState, expected: TrainState, grads):
  """Returns the largest difference between two updates, in units of the learning rate.

  Only entries whose gradient exceeds 1e-4 of the largest in its leaf count.
  """
  largest = 0.0
  for old, a, b, g in zip(*map(jax.tree.leaves, (params, got.params, expected.params, grads)), strict=True):
    strong = np.abs(g) > 1e-4 * np.abs(g).max()
    largest = max(largest, float(np.abs((a - old) - (b - old))[strong].max()) / LEARNING_RATE)
  return largest


def case_step(shapes, tied, layers=2, kv_heads=2, qk_norm=False, wrong="", group=1, share=False):
  """Returns the largest deviations of a step from one device that shares no prompts, by mesh."""
  config, params = make_model(tied=tied, layers=layers, kv_heads=kv_heads, qk_norm=qk_norm)
  params = host(params)
  grads, state, constraints = step(config, params, (1, 1, 1), group=group)
  assert constraints == 0
  found = {}
  for shape in shapes:
    got_grads, got, constraints = step(config, params, shape, wrong=wrong, group=group, share=share)
    moments = [optax.tree.get(s.opt_state, name) for s in (got, state) for name in ("mu", "nu")]
    found["x".join(map(str, shape))] = {
      "gradients": deviation(got_grads, grads),
      "moments": deviation(moments[:2], moments[2:]),
      "updates": update_deviation(params, got, state, grads),
      "constraints": constraints,
    }
  return found


NEW_TOKENS, PROMPT = 10, 8
STOP = (11, 12, 13)


def prompt_requests():
  rng = np.random.default_rng(3)
  prompts = [rng.integers(0, 64, n).astype(np.int32) for n in (3, 8, 6, 1, 5)]
  keys = [prompt_key(7, Purpose.TRAIN, 0, f"p{i}") for i in range(5)]
  return [GroupRequest(f"p{i}", ids, 4, keys[i], NEW_TOKENS) for i, ids in enumerate(prompts)]


def make_engine(config, dtype=jnp.float32, engine_type=InProcessEngine):
  sizes = {"slots": 16, "max_prompt": PROMPT, "max_new": NEW_TOKENS, "chunk": 4, "group": 4}
  return engine_type(config, stop_tokens=STOP, dtype=dtype, **sizes)


def roll_out(config, params, shape, engine_type=InProcessEngine):
  """Samples on a mesh and returns a dict of (prompt id, sample) to Rollout.

  The engine uses the parameters that `load_params` makes from the trainer's arrays.
  """
  with on_mesh(shape) as mesh:
    engine, trainer = make_engine(config, engine_type=engine_type), place(params, mesh)
    serving = engine.load_params(trainer)
    rollouts = sample_groups(engine, serving, prompt_requests(), stop_tokens=STOP, prompt_bucket=4)
    return {(r.prompt_id, r.sample): r for r in rollouts}


def edge_distance(config, params, rollout, at, key=None):
  """Returns the distance from a draw's uniform to the nearest edge of its token's interval in the CDF.

  The CDF comes from the full forward pass.
  """
  row = np.concatenate([rollout.prompt_tokens, rollout.tokens[:at]])[None]
  hidden = transformer.forward(params, config, row, np.arange(row.shape[1])[None], np.ones_like(row))
  p = np.asarray(jax.nn.softmax(transformer.logits(params, hidden)[0, -1]), np.float64)
  key = prompt_key(7, Purpose.TRAIN, 0, rollout.prompt_id) if key is None else key
  key = jax.random.fold_in(key, rollout.sample)
  u, upper = float(uniforms(key[None], np.array([at]))[0]), np.cumsum(p)
  token = rollout.tokens[at]
  return float(min(abs(u - upper[token]), abs(u - upper[token] + p[token])))


def case_rollout(shapes, kv_heads=2, qk_norm=False, jetstream=False):
  """Compares the rollouts of each mesh with those of one device.

  Returns:
    By mesh: number of responses, their lengths, distance from an edge for the first draw that differs in each differing
    response, and the largest log-prob gap.
  """
  config, params = make_model(tied=False, kv_heads=kv_heads, qk_norm=qk_norm)
  expected = roll_out(config, params, (1, 1, 1))
  engine_type = InProcessEngine
  if jetstream:
    engine_type = importlib.import_module("srpo_jax.rollout.jetstream_engine").JetStreamEngine
  found = {}
  for shape in shapes:
    got, edges, gap = roll_out(config, params, shape, engine_type), [], 0.0
    for key, a in got.items():
      b = expected[key]
      n = min(len(a.tokens), len(b.tokens))
      differ = np.flatnonzero(a.tokens[:n] != b.tokens[:n])
      same = differ[0] if len(differ) else n
      gap = max(gap, float(np.abs(a.logprobs[:same] - b.logprobs[:same]).max(initial=0)))
      if len(differ) or len(a.tokens) != len(b.tokens):
        edges.append(edge_distance(config, params, a, same))
    lengths = sorted({len(r.tokens) for r in got.values()})
    found["x".join(map(str, shape))] = {"responses": len(got), "lengths": lengths, "edges": edges, "gap": gap}
  return found


def collectives(program) -> list[int]:
  """Returns the number of elements in the largest result of each collective of a compiled program."""
  pattern = r"= (\(?[a-z0-9]+\[.*?) (?:all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
  results = re.findall(pattern, program.as_text())
  sizes = [re.findall(r"[a-z0-9]+\[([\d,]*)\]", result) for result in results]
  return [max(int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes) for shapes in sizes]


def case_programs(shapes):
  """Returns the collectives of the engine's programs and the elements of a cache shard on one device, by mesh."""
  config, params = make_model(tied=False)
  found = {}
  for shape in shapes:
    with on_mesh(shape) as mesh:
      engine = make_engine(config)
      serving, state = engine.load_params(place(params, mesh)), engine.init_decode_state()
      prefix = engine.prefill(params=serving, padded_tokens=np.ones(PROMPT, np.int32), true_length=5)
      four = np.zeros(4, np.int32)
      programs = {
        "generate": engine._generate.lower(serving, state=state),
        "insert": engine._insert.lower(prefix, state, four, four),
      }
      found["x".join(map(str, shape))] = {name: collectives(p.compile()) for name, p in programs.items()}
      found["x".join(map(str, shape))]["cache"] = state.k[0].addressable_shards[0].data.size
  return found


def case_serving(shape):
  """Checks the parameters that `load_params` makes, and that the trainer's arrays stay alive and unchanged."""
  config, params = make_model(tied=False)
  with on_mesh(shape) as mesh:
    trainer = place(params, mesh)
    made = {}
    for name in ("float32", "bfloat16"):
      engine = make_engine(config, jnp.dtype(name))
      engine._reshard.lower(trainer).compile()
      with jax.transfer_guard("disallow"):
        first = engine.load_params(trainer)
        second = engine.load_params(trainer)
      wanted = param_shardings(params, mesh, SERVING_RULES)
      jax.tree.map(_assert_sharding, second, wanted)
      made[name] = {
        "dtypes": sorted({str(leaf.dtype) for leaf in jax.tree.leaves(second)}),
        "first_freed": all(leaf.is_deleted() for leaf in jax.tree.leaves(first)),
        "values": all(
          np.array_equal(got, np.asarray(master).astype(name))
          for got, master in zip(jax.tree.leaves(second), jax.tree.leaves(params), strict=True)
        ),
      }
      engine.free_params()
      made[name]["second_freed"] = all(leaf.is_deleted() for leaf in jax.tree.leaves(second))
    jax.tree.map(np.testing.assert_array_equal, host(trainer), host(params))
  return made


def case_attention(mesh, heads, kv_heads):
  """Returns the largest relative deviations of the kernels from XLA's attention on one device."""
  qkv, segments = random_qkv(4, 128, heads, kv_heads, 16), hostile_segments(128)
  expected = output_and_gradients(attention.xla_attention, *qkv, segments)
  rng = np.random.default_rng(2)
  q = jnp.asarray(rng.normal(size=(4, heads, 16)), jnp.bfloat16)
  k, v = (jnp.asarray(rng.normal(size=(4, 2, kv_heads, 256, 128)), jnp.bfloat16).at[..., 16:].set(0) for _ in "kv")
  lengths = jnp.array([256, 1, 100, 129], jnp.int32)
  wide = [x.astype(jnp.float32) for x in (q, k[:, 1, ..., :16], v[:, 1, ..., :16])]
  exact = attention.xla_cached_attention(*wide, lengths)
  with on_mesh(mesh), interpreted():
    got = output_and_gradients(functools.partial(attention.over_heads, splash_attention), *qkv, segments)
    decoded = jax.jit(attention.stacked_attention)(q, k, v, lengths, jnp.int32(1))
  return {
    "splash": max(deviation(a, b) for a, b in zip(got, expected, strict=True)),
    "paged": deviation(np.asarray(decoded, np.float32), np.asarray(exact)),
  }


class Counted:
  """A safetensors file that records each slice read from it as (tensor, slice, bytes)."""

  def __init__(self, real, parts, *args, name=None, handle=None, **kwargs):
    self._real, self._parts, self._name = handle or real(*args, **kwargs), parts, name

  def __enter__(self):
    return Counted(None, self._parts, handle=self._real.__enter__())

  def __exit__(self, *error):
    return self._real.__exit__(*error)

  def get_slice(self, name):
    return Counted(None, self._parts, name=name, handle=self._real.get_slice(name))

  def __getitem__(self, index):
    values = self._real[index]
    self._parts.append((self._name, str(index), values.nbytes))
    return values

  def __getattr__(self, name):
    return getattr(self._real, name)


def case_weights(model, shapes, folder):
  """Imports a model on each mesh in turn and saves it as a checkpoint.

  Returns:
    For each mesh: digest of the parameters, bytes read from stored tensors, and number of slices read twice.
  """
  config, found = hf.read_config(model), []
  for step, shape in enumerate(shapes, 1):
    with on_mesh(shape) as mesh:
      wanted, parts, real = param_shardings(hf.param_shapes(config), mesh), [], hf.safe_open
      hf.safe_open = functools.partial(Counted, real, parts)
      params = hf.load_params(model, config, shardings=wanted)
      hf.safe_open = real
      jax.tree.map(_assert_sharding, params, wanted)
      checkpoints = Checkpoints(folder)
      checkpoints.save(step, TrainState(params, {"count": jnp.zeros((), jnp.int32)}), {})
      checkpoints.close()
      distinct = {part[:2] for part in parts}
      found.append({"digest": digest(params), "bytes": sum(n for *_, n in parts), "twice": len(parts) - len(distinct)})
  return found


def case_elastic(checkpoint, folder, meshes):
  """Continues one run for two steps on each mesh in turn and compares each saved state with the restored one."""
  found = []
  saved = None
  for i, shape in enumerate(meshes):
    sizes = dict(zip(("mesh__data", "mesh__fsdp", "mesh__tensor"), shape, strict=True))
    config = toy(checkpoint, train__steps=2 * (i + 1), checkpoint__every=1, rollout__backend="inprocess", **sizes)
    with Run(config, folder) as run:
      state, at = run.start()
      equal = saved is None or all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(saved), jax.tree.leaves(host(state)), strict=True)
      )
      jax.tree.map(_assert_sharding, state, param_shardings(state, run.parts.mesh))
      found.append({"from": at.step, "equal": equal, "devices": len(state.params["embed"].sharding.device_set)})
    with Run(config, folder) as run:
      train(run)
      saved = host(run.checkpoints.restore(2 * (i + 1), run._like())[0])
  return {"starts": found, "digest": digest(saved.params)}


def case_gap(checkpoint, folder, shape, dtype):
  """Returns the metrics of one step on a mesh with computation and rollouts in the given dtype."""
  sizes = dict(zip(("mesh__data", "mesh__fsdp", "mesh__tensor"), shape, strict=True))
  with Run(toy(checkpoint, train__steps=1, model__dtype=dtype, **sizes), folder) as run:
    train(run)
  return read_rows(run.path / "metrics.jsonl")


def digest(params) -> str:
  """Returns a hash of all bits of the parameters."""
  return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params))).hexdigest()


if __name__ == "__main__":
  enable_compilation_cache()
  print(json.dumps(globals()[f"case_{sys.argv[1]}"](**json.loads(sys.argv[2]))))
