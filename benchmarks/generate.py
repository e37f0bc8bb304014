"""Compares the sampler of training with transformers' generate on one model, taking turns. Prints a JSON line each.

    python benchmarks/generate.py --model DIR

Both get the same distinct prompts in fp32 and decode the same number of tokens for each, on all cores. EOS is ignored.
The sampler samples at temperature 1 and returns log-probs. generate decodes greedily, which is its fastest way. The
first turn compiles and is left out. The last line has the medians and their ratio.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.model import hf
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import run_cli


def sampler(options: argparse.Namespace, prompts: np.ndarray) -> Callable[[], int]:
  """Returns a function that samples a response to each prompt and counts the tokens."""
  config = hf.read_config(options.model)
  params = hf.load_params(options.model, config)
  engine = InProcessEngine(
    config,
    slots=len(prompts),
    max_prompt=options.prompt_tokens,
    max_new=options.new_tokens,
    chunk=options.chunk,
    stop_tokens=(),
    dtype=jnp.float32,
  )
  requests = [
    GroupRequest(str(i), prompt, 1, jax.random.key(i), options.new_tokens) for i, prompt in enumerate(prompts)
  ]

  def run() -> int:
    rollouts = sample_groups(engine, params, requests, stop_tokens=(), prompt_bucket=options.prompt_tokens)
    return sum(len(rollout.tokens) for rollout in rollouts)

  return run


def generate(options: argparse.Namespace, prompts: np.ndarray) -> Callable[[], int]:
  """Returns a function that decodes a response to each prompt with transformers and counts the tokens."""
  import torch
  import transformers

  torch.set_num_threads(os.cpu_count() or 1)
  model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
  model.generation_config.eos_token_id = None
  ids = torch.tensor(prompts)

  def run() -> int:
    with torch.inference_mode():
      out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=options.new_tokens, do_sample=False, pad_token_id=0
      )
    return int(out[:, ids.shape[1] :].numel())

  return run


def main(args: Sequence[str]) -> None:
  """Parses the command line, measures and prints."""
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder.")
  parser.add_argument("--prompts", type=int, default=32, help="Distinct prompts. Default: 32.")
  parser.add_argument("--prompt-tokens", type=int, default=200, help="Tokens of a prompt. Default: 200.")
  parser.add_argument("--new-tokens", type=int, default=48, help="Tokens of a response. Default: 48.")
  parser.add_argument("--chunk", type=int, default=16, help="Tokens that a call decodes. Default: 16.")
  parser.add_argument("--turns", type=int, default=3, help="Measured turns. Default: 3.")
  options = parser.parse_args(args)
  check_positive(options, "prompts", "prompt_tokens", "new_tokens", "chunk", "turns")
  enable_compilation_cache()
  vocabulary = hf.read_config(options.model).vocab_size
  prompts = np.random.default_rng(0).integers(0, vocabulary, (options.prompts, options.prompt_tokens))
  contenders = {"srpo_jax": sampler(options, prompts), "transformers": generate(options, prompts)}
  rates: dict[str, list[float]] = {name: [] for name in contenders}
  for turn in range(options.turns + 1):
    for name, run in contenders.items():
      started = time.perf_counter()
      tokens = run()
      rate = tokens / (time.perf_counter() - started)
      if turn:
        rates[name].append(rate)
        line = {"contender": name, "turn": turn, "tokens": tokens, "tokens_per_s": round(rate, 1)}
        print(json.dumps(line), flush=True)
  ours, theirs = (statistics.median(rates[name]) for name in ("srpo_jax", "transformers"))
  medians = {"srpo_jax": round(ours, 1), "transformers": round(theirs, 1), "times_faster": round(ours / theirs, 2)}
  print(json.dumps(medians), flush=True)


if __name__ == "__main__":
  run_cli(main)
