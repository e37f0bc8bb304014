"""Looks a run over before it is started: python -m srpo_jax.doctor --config=configs/tiny.py [--config.x.y=value ...]

The tokenizer and the prompts, the sampler against the trainer on real prompts, sizes that must not matter, the rewards
on known responses and the sandbox's tier, disk space and writing speed, memory (by the plan), the data. Prints a line a
check (pass, warn or fail) with what to do; exits 1 where one fails. It takes --config and --workdir as launch does, and
writes nothing into the workdir.
"""

import sys
from collections.abc import Sequence

from srpo_jax.checks.finding import FAIL, summary, table
from srpo_jax.cli.run_flags import read_options, resolve
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Prints a line per check. Exits with 1 if one fails."""
  options, overrides = read_options("doctor", __doc__ or "", args)
  config, workdir, _ = resolve("doctor", options, overrides)
  # Imported late: --help does not wait for JAX.
  from srpo_jax.checks.examine import examine
  from srpo_jax.utils.cache import enable_compilation_cache

  start_logging()
  enable_compilation_cache()
  findings = examine(config, workdir, lambda finding: print(table([finding]), flush=True))
  print(summary(findings))
  if any(finding.level == FAIL for finding in findings):
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
