"""Measures an update whose responses share their prompt against one that repeats it, taking turns. Prints JSON lines.

    python benchmarks/shared_prompts.py --model DIR

Tokens are random and all of them are in the loss. Times are medians in seconds of one gradient and one optimizer step.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.model import hf
from srpo_jax.training.batch import Response, make_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions, make_optimizer
from srpo_jax.training.shared_batch import share_micro_batches
from srpo_jax.types import Rollout
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import run_cli

CASES = ("4,196,8,27", "4,200,16,150")  # prompts, tokens of a prompt, responses to it, tokens of a response
LENGTH_BUCKET = 16


def make_responses(case: list[int], vocabulary: int) -> list[Response]:
  """Returns random responses with random advantages."""
  prompts, prompt_tokens, group, tokens = case
  rng = np.random.default_rng(0)

  def draw(n: int) -> np.ndarray:
    return rng.integers(0, vocabulary, n).astype(np.int32)

  drawn = [draw(prompt_tokens) for _ in range(prompts)]
  zeros = np.zeros(tokens, np.float32)
  return [
    (Rollout(str(i), sample, prompt, draw(tokens), zeros, truncated=False), float(rng.normal()))
    for i, prompt in enumerate(drawn)
    for sample in range(group)
  ]


def run(options: argparse.Namespace) -> None:
  """Prints a line for each case."""
  config = hf.read_config(options.model)
  optimizer = make_optimizer(learning_rate=1e-6, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  learner = Learner(config, optimizer, LearnerOptions(dtype=jnp.dtype(options.dtype), remat=options.remat))
  state = learner.init(hf.load_params(options.model, config))
  for case in [list(map(int, text.split(","))) for text in options.case or CASES]:
    responses = make_responses(case, config.vocab_size)
    sizes = {"rows": options.micro_batch, "length_bucket": LENGTH_BUCKET}
    cuts = {
      "repeated": make_micro_batches(responses, **sizes),
      "shared": share_micro_batches(responses, row_multiple=1, **sizes),
    }
    n_tokens = sum(len(rollout.tokens) for rollout, _ in responses)
    times: dict[str, list[float]] = {name: [] for name in cuts}
    for turn in range(options.turns + 1):
      for name, batches in cuts.items():
        started = time.perf_counter()
        state, _ = learner.update(state, batches, n_tokens, len(responses))
        if turn:  # the first turn compiles
          times[name].append(time.perf_counter() - started)
    seconds = {name: statistics.median(of) for name, of in times.items()}
    tokens = {name: sum(batch.tokens.size for batch in batches) for name, batches in cuts.items()}
    print(
      json.dumps(
        {
          "case": "{} prompts of {} tokens x {} responses of {}".format(*case),
          **{f"{name}_s": round(of, 2) for name, of in seconds.items()},
          **{f"{name}_tokens": of for name, of in tokens.items()},
          "times_faster": round(seconds["repeated"] / seconds["shared"], 2),
        }
      ),
      flush=True,
    )


def main(args: Sequence[str]) -> None:
  """Parses the command line, measures and prints."""
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder.")
  parser.add_argument(
    "--case",
    action="append",
    help=f"PROMPTS,PROMPT_TOKENS,GROUP,RESPONSE_TOKENS, may be repeated. Default: {' and '.join(CASES)}.",
  )
  parser.add_argument("--micro-batch", type=int, default=16, help="Responses in a micro-batch. Default: 16.")
  parser.add_argument("--remat", default="none", help="none, dots or full. Default: none.")
  parser.add_argument("--dtype", default="float32", help="Dtype of the computation. Default: float32.")
  parser.add_argument("--turns", type=int, default=3, help="Measured turns. Default: 3.")
  enable_compilation_cache()
  run(parser.parse_args(args))


if __name__ == "__main__":
  run_cli(main)
