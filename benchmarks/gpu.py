"""Compares one accelerator with its limits: training MFU, decoding as a share of memory bandwidth, one whole step.

    python benchmarks/gpu.py --shapes 0.5B,1.5B [--trl-python python]

The models have random weights in the shapes of Qwen2.5 and compute in bf16. Each part runs in its own process, so that
it has the whole memory, and prints one JSON line. TRL's step on the same shapes runs in the same call if
`--trl-python` (by default this Python) has torch and TRL. For a device without published peak rates, `mfu` and
`roofline` are null.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.model.transformer import TransformerConfig, init_params
from srpo_jax.planning.chips import Chip, chip_of
from srpo_jax.planning.shapes import n_matmul_parameters, n_parameters, published_shape
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.training.batch import pack_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions, TrainState, make_optimizer
from srpo_jax.types import Rollout
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.fields import names

TOY = TransformerConfig(128, 64, 96, 2, 4, 2, 16, 1e6, 1e-6, True)
TRL_SIZES = ("steps", "rows", "prompt", "new_tokens", "prompts", "group", "remat")
PARTS = ("train", "decode", "step", "trl")


def shape_of(name: str) -> TransformerConfig:
  shape = TOY if name == "toy" else published_shape(f"Qwen2.5-{name}")
  if shape is None:
    raise InputError(f"--shapes: {name}: expected toy or a published size, such as 0.5B")
  return shape


def training_flops(shape: TransformerConfig, rows: int, length: int) -> float:
  """FLOPs of a forward and a backward pass over rows of one sequence each.

  They count 6 per matrix weight and token, and half of the attention matrix. Following the convention of MFU, the
  recomputation of rematerialisation does not count.
  """
  attention = shape.num_hidden_layers * 6 * shape.num_attention_heads * shape.head_dim * length**2
  return 6.0 * n_matmul_parameters(shape) * rows * length + rows * attention


def decode_bytes(shape: TransformerConfig, slots: int, length: float) -> float:
  """Bytes that a decode step reads in bf16: the weights (except an untied embedding) and `length` cached positions."""
  table = 0 if shape.tie_word_embeddings else shape.vocab_size * shape.hidden_size
  cache = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * length * slots
  return 2.0 * (n_parameters(shape) - table + cache)


def make_learner(shape: TransformerConfig, options: argparse.Namespace) -> tuple[Learner, TrainState]:
  optimizer = make_optimizer(learning_rate=1e-6, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  learner = Learner(
    shape, optimizer, LearnerOptions(dtype=jnp.bfloat16, remat=options.remat, head_chunk=options.head_chunk)
  )
  return learner, learner.init(jax.jit(lambda: init_params(shape, jax.random.key(0)))())


def response(shape: TransformerConfig, prompt: int, length: int, seed: int) -> tuple[Rollout, float]:
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, shape.vocab_size, prompt + length).astype(np.int32)
  return Rollout(str(seed), 0, tokens[:prompt], tokens[prompt:], np.zeros(length, np.float32), False), rng.normal()


def median_seconds(run: Callable[[], Any], times: int) -> float:
  """Returns the median seconds of `times` runs, after one that compiles. `run` must wait for its own result."""
  seconds = []
  for turn in range(times + 1):
    started = time.perf_counter()
    run()
    if turn:
      seconds.append(time.perf_counter() - started)
  return statistics.median(seconds)


def train(shape: TransformerConfig, chip: Chip, options: argparse.Namespace) -> dict[str, Any]:
  """Measures an optimizer step over full rows."""
  learner, state = make_learner(shape, options)
  length, rows = options.length, options.rows * options.micro_batches
  responses = [response(shape, length // 8, length - length // 8, seed) for seed in range(rows)]
  batches = pack_micro_batches(responses, rows=options.rows, row_tokens=length)
  n_tokens = sum(len(rollout.tokens) for rollout, _ in responses)

  def step() -> None:
    nonlocal state
    state, _ = learner.update(state, batches, n_tokens, len(responses))

  seconds = median_seconds(step, options.steps)
  done = training_flops(shape, rows, length) / seconds
  return {
    "rows": rows,
    "length": length,
    "update_s": round(seconds, 4),
    "tokens_per_s": round(rows * length / seconds, 1),
    "tflops_per_s": round(done / 1e12, 3),
    "mfu": round(done / chip.flops, 4) if chip.flops else None,
  }


def make_engine(shape: TransformerConfig, options: argparse.Namespace, slots: int) -> InProcessEngine:
  return InProcessEngine(
    shape,
    slots=slots,
    max_prompt=options.prompt,
    max_new=options.new_tokens,
    chunk=options.chunk,
    stop_tokens=(),
    group=min(options.group, slots),
    dtype=jnp.bfloat16,
  )


def decode(shape: TransformerConfig, chip: Chip, options: argparse.Namespace) -> dict[str, Any]:
  """Measures decoding with all slots full from the first token to the last. Prefill and first chunk are not timed."""
  engine = make_engine(shape, options, options.slots)
  params = engine.load_params(jax.jit(lambda: init_params(shape, jax.random.key(0)))())
  state = engine.init_decode_state()
  for slot in range(options.slots):
    prompt = np.random.default_rng(slot).integers(0, shape.vocab_size, options.prompt).astype(np.int32)
    key = prompt_key(0, Purpose.TRAIN, 0, str(slot))
    prefix = engine.prefill(params=params, padded_tokens=prompt, true_length=options.prompt, key=key)
    state = engine.insert(prefix, state, slot)
  steps, started, begun = 0, 0.0, False
  while steps < options.new_tokens - options.chunk:
    state, result = engine.generate(params, state)
    valid = jax.device_get(result.data)[:, slice(*result.valid_idx)]
    assert valid.all(), "a slot stopped before it reached --new-tokens"
    if not begun:
      begun, started = True, time.perf_counter()
    else:
      steps += options.chunk
  seconds = time.perf_counter() - started
  mean_length = options.prompt + options.chunk + steps / 2
  read = decode_bytes(shape, options.slots, mean_length) * steps / seconds
  return {
    "slots": options.slots,
    "positions_mean": mean_length,
    "tokens_per_s": round(options.slots * steps / seconds, 1),
    "gb_per_s": round(read / 1e9, 3),
    "roofline": round(read / chip.hbm, 4) if chip.hbm else None,
  }


def step(shape: TransformerConfig, chip: Chip, options: argparse.Namespace) -> dict[str, Any]:
  """Measures a step: rollout, a cheap reward that half of each group gets, and an update."""
  learner, state = make_learner(shape, options)
  slots = min(options.slots, options.prompts * options.group)
  engine = make_engine(shape, options, slots)
  rng = np.random.default_rng(0)
  ids = rng.integers(0, min(1000, shape.vocab_size), (options.prompts, options.prompt)).astype(np.int32)
  times: list[tuple[float, float]] = []

  def one() -> None:
    nonlocal state
    started = time.perf_counter()
    params = engine.load_params(state.params)
    requests = [
      GroupRequest(str(i), prompt, options.group, prompt_key(0, Purpose.TRAIN, len(times), str(i)), options.new_tokens)
      for i, prompt in enumerate(ids)
    ]
    rollouts = list(sample_groups(engine, params, requests, stop_tokens=(), prompt_bucket=options.prompt))
    engine.free_params()
    generated = time.perf_counter()
    responses = [(rollout, 2.0 * (rollout.sample % 2) - 1) for rollout in rollouts]
    row_tokens = max(options.prompt + options.new_tokens, options.length)
    batches = pack_micro_batches(responses, rows=options.rows, row_tokens=row_tokens)
    state, _ = learner.update(state, batches, sum(len(r.tokens) for r in rollouts), len(rollouts))
    times.append((generated - started, time.perf_counter() - generated))

  seconds = median_seconds(one, options.steps)
  rollout_s, update_s = (statistics.median(column) for column in zip(*times[1:], strict=True))
  return {"step_s": round(seconds, 4), "rollout_s": round(rollout_s, 4), "update_s": round(update_s, 4)}


def run_part(part: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
  shape = shape_of(name)
  enable_compilation_cache()
  device = jax.devices()[0]
  chip = chip_of(device)
  return {"device": device.device_kind} | {"train": train, "decode": decode, "step": step}[part](shape, chip, options)


def run_in_process(part: str, name: str, args: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
  """Runs a part in its own process and returns its measurements."""
  folder = Path(__file__).absolute().parent
  command = [sys.executable, str(folder / "gpu.py"), *args, "--part", part, "--shapes", name]
  if part == "trl":
    try:
      probe = subprocess.run([options.trl_python, "-c", "import torch, trl"], capture_output=True, text=True)
    except OSError as error:
      return {"left_out": f"{options.trl_python}: {error.strerror}"}
    if probe.returncode:
      return {"left_out": (probe.stderr.strip().splitlines() or ["no Python with torch and TRL"])[-1]}
    sizes = {key: getattr(options, key) for key in TRL_SIZES}
    command = [options.trl_python, str(folder / "trl_step.py"), json.dumps(sizes | dataclasses.asdict(shape_of(name)))]
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    return {"failed": (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]}
  return json.loads(done.stdout.strip().splitlines()[-1])


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--shapes", default="0.5B,1.5B", help="comma-separated sizes of Qwen2.5, or toy")
  parser.add_argument("--parts", default=",".join(PARTS))
  parser.add_argument("--part", choices=PARTS[:-1], help=argparse.SUPPRESS)  # the part that this process runs itself
  parser.add_argument("--steps", type=int, default=5, help="timed steps, after one untimed step")
  parser.add_argument("--length", type=int, default=4096, help="tokens per training row")
  parser.add_argument("--rows", type=int, default=4, help="rows per micro-batch")
  parser.add_argument("--micro-batches", type=int, default=4)
  parser.add_argument("--remat", choices=("none", "dots", "full"), default="full")
  parser.add_argument("--head-chunk", type=int, default=1024, help="response tokens per row whose logits exist at once")
  parser.add_argument("--slots", type=int, default=256)
  parser.add_argument("--prompt", type=int, default=512, help="tokens per prompt")
  parser.add_argument("--new-tokens", type=int, default=1024)
  parser.add_argument("--chunk", type=int, default=32, help="tokens per compiled decode loop")
  parser.add_argument("--prompts", type=int, default=32, help="prompts per whole step")
  parser.add_argument("--group", type=int, default=8, help="responses per prompt")
  parser.add_argument("--trl-python", default=sys.executable, help="Python interpreter with torch and TRL")
  options = parser.parse_args(args)
  check_positive(options, *(name for name, value in vars(options).items() if isinstance(value, int)))
  if options.new_tokens < 2 * options.chunk or options.new_tokens % options.chunk:
    raise InputError(f"--new-tokens: expected a multiple of --chunk, at least twice it, got {options.new_tokens}")
  unknown = [part for part in names(options.parts) if part not in PARTS]
  if unknown:
    raise InputError(f"--parts: {unknown[0]}: expected some of {', '.join(PARTS)}")
  if options.part:
    print(json.dumps(run_part(options.part, options.shapes, options)))
    return
  for name in names(options.shapes):
    shape_of(name)
  failed = False
  for name in names(options.shapes):
    for part in names(options.parts):
      found = run_in_process(part, name, args, options)
      failed |= "failed" in found
      print(json.dumps({"shape": name, "part": part} | found), flush=True)
  if failed:
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
