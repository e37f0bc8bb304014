"""Recomputes a recorded step of a run from its stored tokens, and compares the results with the recorded ones.

    python -m srpo_jax.replay --workdir DIR --step S

    text        stored tokens, decoded again
    verdicts    every response, judged again: correct, format, language_mix, pass_fraction, reward
    advantages  computed from the new rewards
    figures     of responses, rewards and groups, as in metrics.jsonl
    loss        computed from stored tokens, log-probabilities and advantages: policy/loss, grad_norm, entropy,
                clip_frac and the gap to the sampler, as in metrics.jsonl. The policy comes from the checkpoint of the
                step. If there is none, the updates since the last checkpoint before it (or since the base) are
                repeated from their stored rollouts, which gives the same bits on the same machine.

The exit status is 0 if everything agrees and 1 if anything differs. Nothing is sampled and nothing is written.
--no-loss leaves out the last part, which needs the weights. To change a field of the run's config, for example the
mesh, use --config.section.field=value.
"""

import sys
from collections.abc import Sequence

from srpo_jax.cli import flags
from srpo_jax.cli.parser import ArgumentParser, check_overrides
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.text import say


def main(args: Sequence[str]) -> None:
  """Prints the comparison as a table. Exits with status 1 if anything differs."""
  parser = ArgumentParser("replay", __doc__)
  flags.add(parser, "--workdir", required=True)
  flags.add(parser, "--step", required=True, help="Recorded step to recompute.")
  parser.add_argument("--no-loss", action="store_true", help="Comparison without the loss, which needs the weights.")
  options, overrides = parser.parse_known_args(args)
  check_overrides(overrides)
  # Imported late, so that --help does not wait for JAX.
  from srpo_jax.training.replay import replay, table
  from srpo_jax.utils.cache import enable_compilation_cache

  start_logging()
  enable_compilation_cache()
  found = replay(options.workdir, options.step, loss=not options.no_loss, overrides=overrides)
  say(table(found.checks))
  differing = [check.name for check in found.checks if not check.agrees]
  print(f"step {options.step}: " + (f"not as recorded: {', '.join(differing)}" if differing else "as recorded"))
  if differing:
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
