"""Scores a file of responses with the rewards of training.

    python -m srpo_jax.score --input responses.jsonl --out verdicts.jsonl

Input rows have {id, prompt, response, domain}, `answer` (math) or `tests` (code), and optionally `ended` (default true;
false if the length limit cut the response), `opens_think` and `question` (docs/rewards.md). An EOS at the end of the
response is removed. Output rows, in input order, have {id, format, language_mix, correct, reward, reason, time}. For
code they also have `pass_fraction`, the share of passed tests. `correct` and `reward` are null if a response could not
be judged. `time` is in seconds.

    python -m srpo_jax.score --explain --input problems.jsonl

prints for each code row how its tests are run, or why they cannot be. Rows may be responses or any training data set.
"""

import argparse
import sys
from collections.abc import Sequence

from srpo_jax.cli import flags
from srpo_jax.cli.argument_types import whole
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.rewards.pool import default_workers
from srpo_jax.rewards.user_judge import check_judges, parse_judges
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.fields import names


def main(args: Sequence[str]) -> None:
  """Scores the responses, or explains how the tests of code rows are run."""
  options = _options(args)
  # Imported late, so that a wrong option is reported at once.
  from srpo_jax.rewards.score_file import explain_tests, rejected_file, score_file
  from srpo_jax.rewards.scorer import Scorer
  from srpo_jax.sandbox.client import SandboxOptions

  if options.explain:
    return explain_tests(options.input)
  sandbox = SandboxOptions(min_tier=options.min_tier, timeout_s=options.timeout_s, packages=names(options.packages))
  with Scorer(
    validator=options.validator,
    timeout_s=options.timeout_s,
    workers=options.workers,
    sandbox=sandbox,
    judges=parse_judges(options.judges),
  ) as scorer:
    scored, refused = score_file(options.input, options.out, scorer, strict=options.strict)
  if refused:
    print(f"{refused} of {scored + refused} rows rejected: {rejected_file(options.out)}", file=sys.stderr)


def _options(args: Sequence[str]) -> argparse.Namespace:
  parser = ArgumentParser("score", __doc__)
  flags.add(parser, "--input", required=True, help="Responses (JSON Lines), or a data set with --explain.")
  flags.add(parser, "--out", help="File for the verdicts (JSON Lines). It is replaced once all are written.")
  parser.add_argument("--strict", action="store_true", help="Stop at the first bad row instead of OUT.rejected.jsonl.")
  flags.add(parser, "--validator", default="tags")
  flags.add(parser, "--timeout-s", default=4.0)
  parser.add_argument("--workers", type=whole(1), default=default_workers(), help="Processes that judge math.")
  parser.add_argument("--judges", default="", help="Judges of your own domains, as DOMAIN=module:function,...")
  parser.add_argument("--explain", action="store_true", help="Explanation of how tests are run, without judging.")
  flags.add(parser, "--min-tier", default="bubblewrap")
  parser.add_argument(
    "--packages", default="", help="Comma-separated packages that programs may import besides the standard library."
  )
  options = parser.parse_args(args)
  if options.explain:
    return options
  check_judges(options.judges)
  if options.out is None:
    raise InputError("--out: expected a file for the verdicts (or --explain)")
  if options.input.resolve() == options.out.resolve():
    raise InputError(f"--out: expected another file than --input, found {options.out}")
  if not options.out.parent.is_dir():
    raise InputError(f"--out: expected an existing folder, found {options.out.parent}")
  return options


if __name__ == "__main__":
  run_cli(main)
