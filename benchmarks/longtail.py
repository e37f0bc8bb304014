"""Compares continuous with static batching when one response in ten is eight times longer. Prints one JSON line.

    python benchmarks/longtail.py --model DIR

Both run on the same engine in one process and take turns. A static batch fills all slots and waits for its longest
response. Continuous batching refills a slot as soon as it is free.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.model import hf
from srpo_jax.model.folder import model_folder
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import run_cli


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", required=True, help="Hugging Face folder, or owner/name on the hub")
  parser.add_argument("--responses", type=int, default=320)
  parser.add_argument("--slots", type=int, default=32)
  parser.add_argument("--short", type=int, default=32, help="tokens of 9 in 10 responses; the others have 8 times that")
  parser.add_argument("--chunk", type=int, default=8)
  parser.add_argument("--turns", type=int, default=3)
  options = parser.parse_args(args)
  options.model = model_folder(options.model)
  check_positive(options, "responses", "slots", "short", "chunk", "turns")
  enable_compilation_cache()
  config = hf.read_config(options.model)
  params = hf.load_params(options.model, config)
  engine = InProcessEngine(
    config, slots=options.slots, max_prompt=32, max_new=8 * options.short, chunk=options.chunk, stop_tokens=()
  )
  rng = np.random.default_rng(0)
  long = rng.permutation(options.responses) < options.responses // 10
  requests = [
    GroupRequest(
      str(i),
      rng.integers(0, config.vocab_size, 24).astype(np.int32),
      1,
      prompt_key(0, Purpose.TRAIN, 0, str(i)),
      options.short * (8 if is_long else 1),
    )
    for i, is_long in enumerate(long)
  ]

  def seconds(batches: list[list[GroupRequest]]) -> float:
    started = time.perf_counter()
    for batch in batches:
      for rollout in sample_groups(engine, params, batch, stop_tokens=(), prompt_bucket=32):
        assert len(rollout.tokens) == requests[int(rollout.prompt_id)].max_new_tokens
    return time.perf_counter() - started

  static = [requests[at : at + options.slots] for at in range(0, len(requests), options.slots)]
  seconds([requests[:2]])  # compiles
  turns = [(seconds([requests]), seconds(static)) for _ in range(options.turns)]
  tokens = sum(request.max_new_tokens for request in requests)
  continuous_s, static_s = (statistics.median(column) for column in zip(*turns, strict=True))
  print(
    json.dumps(
      {
        "continuous_tokens_per_s": round(tokens / continuous_s),
        "static_tokens_per_s": round(tokens / static_s),
        "ratio": round(statistics.median(b / a for a, b in turns), 3),
        "ratios": [round(b / a, 3) for a, b in turns],
      }
    )
  )


if __name__ == "__main__":
  run_cli(main)
