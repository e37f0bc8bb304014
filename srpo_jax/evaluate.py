"""Evaluates a policy on sets of problems, with the sampler and the rewards of training.

    python -m srpo_jax.evaluate --model DIR --sets aime24,math500,gsm8k,humaneval,mbpp,lcb --samples 32
    python -m srpo_jax.evaluate --workdir DIR [--step N] --sets aime24,heldout.jsonl

A set is a short name (those above, and amc23), looked for as NAME.jsonl, .json, .parquet .. in --data and then on the
hub; or a file (.gz too), a folder of records or as downloaded from the hub (its split test), module:function, or
OWNER/NAME[:SUBSET[:SPLIT]] on the hub. --from and --to choose among
LiveCodeBench's rows by contest date, both days included; sets without dates are taken whole.

Temperature, top-p and the length limit are evaluation's own. By default tokens are drawn as in training (temperature 1,
from the whole distribution), so that pass@1, the mean over all samples, is that of the policy which is trained, and of
a run's held-out sets the figure in its eval.jsonl. DeepSeek-R1 reports --temperature 0.6 --top-p 0.95.

    OUT/results.json          for each set pass@k, majority@k (mathematics), format and truncation rates, mean length,
                              the same by level, each with a 95 % bootstrap interval over problems; where the set
                              was found, its window of dates, and the rows that were left out
    OUT/results.md            the same as tables
    OUT/samples/SET.parquet   every response with its tokens, verdict and the checker's reason

Started again it goes on where it was stopped, to the same bytes; other settings are refused. More sets may be added to
the same OUT. Prompt, types, rewards and sandbox are those of the run, or of --config; fields of either are set by
--config.section.field=value. It runs on the devices of one host, laid out by config.mesh.
"""

from collections.abc import Sequence

from srpo_jax.cli.policy_flags import find_policy
from srpo_jax.evaluation.options import default_out, evaluation_config, read_options
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.fields import names
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Evaluates as the command line says, and prints the tables."""
  options, overrides = read_options(args, __doc__ or "")
  config = evaluation_config(options, overrides)
  # Imported late: a wrong option is told at once.
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
  evaluate(config, policy, sets, Sampling(options.samples, options.temperature, options.top_p, batch), out)
  print((out / "results.md").read_text() + f"\n{out / 'results.json'}")


if __name__ == "__main__":
  run_cli(main)
