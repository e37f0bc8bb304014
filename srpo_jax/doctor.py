"""Checks a run before it starts.

    python -m srpo_jax.doctor --config=configs/tiny.py [--config.section.field=value ...]

The checks cover the data, the tokenizer and prompts, the rewards on responses with known verdicts, the sandbox's tier,
disk space and write speed, and memory (as estimated by `plan`). Four responses to each of four prompts are sampled at
the run's own prompt, temperature and length limit, for at most two minutes. They show how many have the required form
and end, and if the first step could learn anything. They also show if sampler and trainer agree, and that sizes which
must not matter make no difference. Prints one line per check (pass, warn or fail) and what to do about a problem. The
exit status is 1 if a check fails. It takes --config and --workdir like launch, and writes nothing into the workdir.
"""

import sys
from collections.abc import Sequence

from srpo_jax.checks.finding import FAIL, summary, table
from srpo_jax.cli.run_flags import read_options, resolve
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.text import say


def main(args: Sequence[str]) -> None:
  """Prints one line per check. Exits with status 1 if a check fails."""
  options, overrides = read_options("doctor", __doc__ or "", args)
  config, workdir, _ = resolve("doctor", options, overrides)
  # Imported late, so that --help does not wait for JAX.
  from srpo_jax.checks.examine import examine
  from srpo_jax.utils.cache import enable_compilation_cache

  start_logging()
  enable_compilation_cache()
  findings = examine(config, workdir, lambda finding: say(table([finding])))
  print(summary(findings))
  if any(finding.level == FAIL for finding in findings):
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
