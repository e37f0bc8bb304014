"""Measures a real training step (rollout, a cheap reward, update) on a Hugging Face folder. Prints one JSON line.

    python benchmarks/step.py --model DIR --prompts FILE --num-prompts 8 --group 8 --new-tokens 128 --steps 5

EOS is ignored, so that every response has exactly --new-tokens tokens. Every token goes through the forward and the
backward pass. Times are medians in seconds over the steps after a warm-up step.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.algorithm.advantages import group_advantages
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.model import hf
from srpo_jax.model.folder import model_folder
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.training.learner import Learner, LearnerOptions, make_optimizer
from srpo_jax.training.shared_batch import share_micro_batches
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.jsonl import is_text, json_rows
from srpo_jax.utils.rounding import round_up

PROMPT_BUCKET = 32


def read_prompts(file: Path, tokenizer: object, count: int, max_tokens: int) -> list[np.ndarray]:
  """Reads the first `count` prompts of at most `max_tokens` tokens from a JSON Lines file with a `prompt` column."""
  prompts = []
  for place, row in json_rows(file):
    if not isinstance(row, dict) or not is_text(row.get("prompt")):
      raise InputError(f"{place}: field prompt: expected text")
    ids = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    if 0 < len(ids) <= max_tokens:
      prompts.append(np.asarray(ids, np.int32))
    if len(prompts) == count:
      return prompts
  raise InputError(f"{file}: {len(prompts)} prompts of at most {max_tokens} tokens, expected {count}")


def run(options: argparse.Namespace) -> dict[str, float]:
  """Runs the steps and returns the medians of the timed ones."""
  config = hf.read_config(options.model)
  tokenizer = load_tokenizer(options.model)
  prompts = read_prompts(options.prompts, tokenizer, options.num_prompts, options.max_prompt_tokens)
  dtype = jnp.dtype(options.dtype)
  engine_type = InProcessEngine
  if options.backend == "jetstream":
    from srpo_jax.rollout.jetstream_engine import JetStreamEngine

    engine_type = JetStreamEngine
  responses = options.num_prompts * options.group
  engine = engine_type(
    config,
    slots=options.slots or responses,
    max_prompt=round_up(max(map(len, prompts)), PROMPT_BUCKET),
    max_new=options.new_tokens,
    chunk=options.chunk,
    stop_tokens=(),
    group=min(options.group, options.slots or responses),
    dtype=dtype,
  )
  optimizer = make_optimizer(learning_rate=1e-6, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  learner = Learner(config, optimizer, LearnerOptions(dtype=dtype, head_chunk=options.head_chunk, remat=options.remat))
  state = learner.init(hf.load_params(options.model, config))

  rows = []
  for step in range(options.steps + 1):
    started = time.perf_counter()
    requests = [
      GroupRequest(str(i), ids, options.group, prompt_key(0, Purpose.TRAIN, step, str(i)), options.new_tokens)
      for i, ids in enumerate(prompts)
    ]
    stream = sample_groups(engine, state.params, requests, stop_tokens=(), prompt_bucket=PROMPT_BUCKET)
    rollouts = sorted(stream, key=lambda r: (int(r.prompt_id), r.sample))
    generated = time.perf_counter()
    # Half of each group is right, so rewards vary within every group and no advantage is zero.
    rewards = np.array([r.sample % 2 for r in rollouts], np.float64).reshape(options.num_prompts, options.group)
    judged = np.ones_like(rewards, bool)
    advantages = group_advantages(rewards, judged, ~judged)
    responses = list(zip(rollouts, advantages.ravel().tolist(), strict=True))
    batches = share_micro_batches(responses, rows=options.micro_batch, length_bucket=16, row_multiple=1)
    state, metrics = learner.update(state, batches, sum(len(r.tokens) for r in rollouts), len(rollouts))
    ended = time.perf_counter()
    rows.append((ended - started, generated - started, ended - generated))
    assert metrics.gap.max() < 1e-3 or dtype != jnp.float32, metrics.gap.max()
  step_s, gen_s, update_s = (statistics.median(column) for column in zip(*rows[1:], strict=True))
  return {
    "step_s": round(step_s, 4),
    "gen_s": round(gen_s, 4),
    "update_s": round(update_s, 4),
    "generated_tokens": sum(len(r.tokens) for r in rollouts),
    "trained_tokens": sum(len(r.prompt_tokens) + len(r.tokens) for r in rollouts),
    "grad_norm": metrics.grad_norm,
    "logprob_gap_max": float(metrics.gap.max()),
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
  }


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", required=True, help="Hugging Face folder, or owner/name on the hub")
  parser.add_argument("--prompts", required=True, type=Path, help="JSON Lines file with a prompt column")
  parser.add_argument("--num-prompts", type=int, default=8)
  parser.add_argument("--group", type=int, default=8)
  parser.add_argument("--new-tokens", type=int, default=128)
  parser.add_argument("--steps", type=int, default=5, help="timed steps, after one untimed step")
  parser.add_argument("--max-prompt-tokens", type=int, default=1024, help="length above which prompts are skipped")
  parser.add_argument("--slots", type=int, default=0, help="engine slots; 0 means one per response")
  parser.add_argument("--chunk", type=int, default=32, help="tokens per compiled decode loop")
  parser.add_argument("--micro-batch", type=int, default=8, help="rows per micro-batch")
  parser.add_argument("--head-chunk", type=int, default=64, help="response tokens per row whose logits exist at once")
  parser.add_argument("--remat", choices=("none", "dots", "full"), default="none")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
  parser.add_argument("--backend", choices=("jetstream", "inprocess"), default="jetstream")
  options = parser.parse_args(args)
  options.model = model_folder(options.model)
  for name in ("num_prompts", "group", "new_tokens", "steps"):
    if getattr(options, name) < (2 if name == "group" else 1):
      raise InputError(f"--{name.replace('_', '-')}: expected a larger number, got {getattr(options, name)}")
  enable_compilation_cache()
  print(json.dumps(run(options)))


if __name__ == "__main__":
  run_cli(main)
