"""Evaluates a policy on sets of problems, using the sampler and rewards of training.

    python -m srpo_jax.evaluate --model DIR --sets aime24,math500,gsm8k,humaneval,mbpp,lcb --samples 32
    python -m srpo_jax.evaluate --workdir DIR [--step N] --sets aime24,heldout.jsonl

A set is one of:
  - a short name (those above, or amc23), looked up as NAME.jsonl, .json, .parquet etc. in --data, then on the hub
  - a file (also .gz), a folder of records, or a folder downloaded from the hub (its split `test` is used)
  - module:function
  - OWNER/NAME[:SUBSET[:SPLIT]] on the hub

--from and --to select rows of LiveCodeBench by contest date, both days included. Sets without dates are used whole.

Temperature, top-p and length limit do not come from the training config. By default, tokens are sampled as in training
(temperature 1, from the whole distribution). So pass@1, the mean over all samples, describes the policy as trained, and
matches eval.jsonl for a run's held-out sets. DeepSeek-R1 reports --temperature 0.6 --top-p 0.95.

    OUT/results.json          per set: pass@k, majority@k (math), format and truncation rates and mean length, overall
                              and by level, each with a 95 % bootstrap interval over problems. Also where the set was
                              found, its window of dates, and the rows that were left out
    OUT/results.md            the same as tables
    OUT/samples/SET.parquet   all responses with tokens, verdict and the checker's reason

The same command resumes a stopped evaluation, with the same bytes as a result. Other settings are refused. More sets
can be added to the same OUT. Prompt, dtypes, rewards and sandbox come from the run, or from --config. To change a field
of either, use --config.section.field=value. Evaluation uses the devices of one host, laid out by config.mesh.
"""

from collections.abc import Sequence

from srpo_jax.cli.policy_flags import find_policy
from srpo_jax.evaluation.options import default_out, evaluation_config, read_options
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.fields import names
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.text import say


def main(args: Sequence[str]) -> None:
  """Evaluates the policy, and prints the tables."""
  options, overrides = read_options(args, __doc__ or "")
  config = evaluation_config(options, overrides)
  # Imported late, so that a wrong option is reported at once.
  from srpo_jax.evaluation.evaluation import Sampling, batch_size, evaluate
  from srpo_jax.evaluation.samples import check_folder
  from srpo_jax.evaluation.sets import Window, open_sets
  from srpo_jax.utils.cache import enable_compilation_cache

  start_logging()
  enable_compilation_cache()
  policy = find_policy(options)
  out = options.out or default_out(options, policy.step)
  check_folder(out)
  window = Window(options.first, options.last)
  sets = open_sets(names(options.sets), options.data, limit=options.limit, window=window)
  batch = options.batch_problems or batch_size(config.rollout.slots, options.samples)
  sampling = Sampling(options.samples, options.temperature, options.top_p, batch, options.code_rules)
  evaluate(config, policy, sets, sampling, out)
  say((out / "results.md").read_text() + f"\n{out / 'results.json'}")


if __name__ == "__main__":
  run_cli(main)
