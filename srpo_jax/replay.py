"""Recomputes a recorded step of a run from its stored tokens, and compares with what was recorded.

    python -m srpo_jax.replay --workdir DIR --step S

    text        the stored tokens, decoded
    verdicts    each response judged anew: correct, format, language_mix, pass_fraction, reward
    advantages  of the rewards judged anew
    figures     of the responses, rewards and groups, as metrics.jsonl has them
    loss        of the stored tokens, log-probabilities and advantages: policy/loss, grad_norm, entropy, clip_frac and
                the gap to the sampler, as metrics.jsonl has them. The policy of the step is that of its checkpoint;
                where there is none, the updates from the last checkpoint before it (or from the base) are made again
                from their own stored rollouts, which gives the same bits on the same machine.

Exit status 0 where all agree, 1 where anything differs. Nothing is sampled and nothing is written. --no-loss leaves out
the last part, which needs the weights. Fields of the run's config, as another mesh, are set by
--config.section.field=value.
"""

import sys
from collections.abc import Sequence

from srpo_jax.cli import flags
from srpo_jax.cli.parser import ArgumentParser, check_overrides
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Prints the table of the comparison. Exits with 1 if anything differs."""
  parser = ArgumentParser("replay", __doc__)
  flags.add(parser, "--workdir", required=True)
  flags.add(parser, "--step", required=True, help="Recorded step to recompute.")
  parser.add_argument("--no-loss", action="store_true", help="Rewards and advantages only, without the weights.")
  options, overrides = parser.parse_known_args(args)
  check_overrides(overrides)
  # Imported late: --help does not wait for JAX.
  from srpo_jax.training.replay import replay, table
  from srpo_jax.utils.cache import enable_compilation_cache

  start_logging()
  enable_compilation_cache()
  found = replay(options.workdir, options.step, loss=not options.no_loss, overrides=overrides)
  print(table(found.checks))
  differing = [check.name for check in found.checks if not check.agrees]
  print(f"step {options.step}: " + (f"not as recorded: {', '.join(differing)}" if differing else "as recorded"))
  if differing:
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
