"""Labels the rows of a data set by how often a policy solves them.

    python -m srpo_jax.curate label --model DIR --input DATASET --out DATASET2

Samples responses to every row with the sampler, the prompt and the rewards of training. Writes every row with its old
fields and these:

    pass_rate   fraction of correct responses among those judged; equals pass@1; pass@4 and pass@16 are added (unbiased)
    difficulty  unsolved (0), hard (up to 0.25), medium (up to 0.75), easy (below 1) or solved (1)
    rollouts    {n: judged, n_correct, n_truncated, n_unjudged}

A difficulty that is not from an earlier labelling moves to `original_difficulty`. A row stays without a label if its
responses could not be judged, its prompt is too long or its tests cannot be used.

OUT.parts holds the results so far. The same command resumes from there and gives the same bytes. To use several hosts,
run it on each host with --host I --hosts N. When all hosts are done, run it once with --merge.

The settings of training come from --config. --config.section.field=value overrides a field.
"""

from collections.abc import Sequence

from srpo_jax.data.labelling.options import read_options
from srpo_jax.utils.errors import run_cli


def main(args: Sequence[str]) -> None:
  """Labels a data set according to command-line arguments."""
  options, overrides = read_options(args, __doc__ or "")
  from srpo_jax.data.labelling.work import label_rows  # imported late, so that --help does not wait for JAX

  label_rows(options, overrides)


if __name__ == "__main__":
  run_cli(main)
