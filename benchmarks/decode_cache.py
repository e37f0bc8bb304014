"""Measures the cost of a decode step by the positions in use and the positions allocated. Prints a JSON line each.

    python benchmarks/decode_cache.py --model DIR

All slots hold a prompt of the positions in use less one chunk, and then decode one chunk. EOS is ignored. The sizes
take turns. Times are medians of a chunk, in milliseconds a step. The digest is of the log-probs of all tokens.
"""

import argparse
import hashlib
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

from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.model import hf
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import run_cli

CASES = ("240,240,1008,4032", "900,900,1008,4032")  # positions in use, then numbers of positions allocated


def run(options: argparse.Namespace) -> None:
  """Prints a line for each number of positions in use and allocated."""
  config = hf.read_config(options.model)
  params = hf.load_params(options.model, config)
  for used, *sizes in [list(map(int, text.split(","))) for text in options.case or CASES]:
    prompt = np.random.default_rng(0).integers(0, config.vocab_size, used - options.chunk)
    engines = {
      size: InProcessEngine(
        config,
        slots=options.slots,
        max_prompt=len(prompt),
        max_new=size - len(prompt),
        chunk=options.chunk,
        stop_tokens=(),
        group=options.slots,
        dtype=jnp.float32,
      )
      for size in sizes
    }
    times: dict[int, list[float]] = {size: [] for size in sizes}
    digests = {}
    for turn in range(options.turns + 1):
      for size, engine in engines.items():
        prefix = engine.prefill(params=params, padded_tokens=prompt, true_length=len(prompt), key=jax.random.key(1))
        everyone = range(options.slots)
        state = engine.insert_group(prefix, engine.init_decode_state(), everyone, everyone)
        jax.block_until_ready(state)
        started = time.perf_counter()
        state, _ = engine.generate(params, state)
        jax.block_until_ready(state)
        if turn:  # the first turn compiles
          times[size].append(1000 * (time.perf_counter() - started) / options.chunk)
        digests[size] = hashlib.sha256(np.asarray(state.logprobs).tobytes()).hexdigest()[:12]
        del state
    for size in sizes:
      ms = statistics.median(times[size])
      line = {"used": used, "allocated": size, "ms_per_step": round(ms, 1), "digest": digests[size]}
      print(json.dumps(line), flush=True)


def main(args: Sequence[str]) -> None:
  """Parses the command line, measures and prints."""
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder.")
  parser.add_argument(
    "--case",
    action="append",
    help=f"IN_USE,ALLOCATED,..., may be repeated. Default: {' and '.join(CASES)}.",
  )
  parser.add_argument("--slots", type=int, default=32, help="Responses decoded in parallel. Default: 32.")
  parser.add_argument("--chunk", type=int, default=32, help="Tokens of a chunk. Default: 32.")
  parser.add_argument("--turns", type=int, default=3, help="Measured turns. Default: 3.")
  enable_compilation_cache()
  run(parser.parse_args(args))


if __name__ == "__main__":
  run_cli(main)
