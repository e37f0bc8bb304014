"""Compares updates on packed and padded rows with a long-tailed distribution of lengths. Prints one JSON line.

    python benchmarks/packing.py --model DIR

Response lengths are log-normal with a mean far below the limit, because published runs are long-tailed. Prompts are
short. All three ways train on the same responses and reach the same loss:

packed           several responses per row, one compiled program
padded           one response per row, padded to the longest of its micro-batch, several programs
padded_to_limit  one response per row, padded to the limit, one program
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.model import hf
from srpo_jax.model.folder import model_folder
from srpo_jax.training.batch import make_micro_batches, pack_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions, MicroBatch, make_optimizer
from srpo_jax.types import Rollout
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.rounding import round_up

PROMPT = 16  # maximum tokens per prompt


def make_responses(n: int, mean: float, limit: int, vocab: int) -> list[tuple[Rollout, float]]:
  rng = np.random.default_rng(0)
  sigma = 0.8
  lengths = np.clip(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, n), 1, limit).astype(int)

  def tokens(length: int) -> np.ndarray:
    return rng.integers(0, vocab, length).astype(np.int32)

  def rollout(length: int) -> Rollout:
    prompt = tokens(int(rng.integers(PROMPT // 4, PROMPT)))
    return Rollout("", 0, prompt, tokens(length), np.zeros(length, np.float32), truncated=False)

  return [(rollout(length), rng.normal()) for length in lengths.tolist()]


def cost(batches: list[MicroBatch]) -> dict[str, float]:
  """Returns the share of computation spent on padding and the number of compiled programs."""
  trained = sum(int(np.count_nonzero(b.segments)) for b in batches)
  computed = sum(b.segments.size for b in batches)
  return {
    "padding": round(computed / trained - 1, 4),
    "programs": len({b.tokens.shape + b.target.shape for b in batches}),
  }


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", required=True, help="Hugging Face folder, or owner/name on the hub")
  parser.add_argument("--responses", type=int, default=256)
  parser.add_argument("--mean", type=int, default=48, help="mean tokens per response")
  parser.add_argument("--limit", type=int, default=192, help="tokens of the longest response")
  parser.add_argument("--rows", type=int, default=2, help="rows per micro-batch")
  parser.add_argument("--steps", type=int, default=3, help="timed turns, after one that compiles")
  options = parser.parse_args(args)
  options.model = model_folder(options.model)
  check_positive(options, "responses", "mean", "limit", "rows", "steps")
  enable_compilation_cache()
  config = hf.read_config(options.model)
  params = hf.load_params(options.model, config)
  responses = make_responses(options.responses, options.mean, options.limit, config.vocab_size)
  n_tokens = sum(len(rollout.tokens) for rollout, _ in responses)
  row = PROMPT + options.limit
  cuts = {
    "packed": pack_micro_batches(responses, rows=options.rows, row_tokens=row),
    "padded": make_micro_batches(responses, rows=options.rows, length_bucket=round_up(row, 8) // 8),
    "padded_to_limit": make_micro_batches(responses, rows=options.rows, length_bucket=row),
  }
  optimizer = make_optimizer(learning_rate=1e-6, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  learner = Learner(config, optimizer, LearnerOptions(head_chunk=64))
  seconds: dict[str, list[float]] = {name: [] for name in cuts}
  losses: dict[str, float] = {}
  for turn in range(options.steps + 1):  # taking turns spreads other load on the machine over all three ways
    for name, batches in cuts.items():
      state = learner.init(jax.tree.map(jax.numpy.copy, params))
      started = time.perf_counter()
      _, metrics = learner.update(state, batches, n_tokens, len(responses))
      if turn:
        seconds[name].append(time.perf_counter() - started)
      losses[name] = metrics.loss
  found: dict[str, object] = {"responses": len(responses), "tokens": n_tokens}
  for name, batches in cuts.items():
    found[name] = {"step_s": round(statistics.median(seconds[name]), 4), "loss": losses[name]} | cost(batches)
  print(json.dumps(found))


if __name__ == "__main__":
  run_cli(main)
