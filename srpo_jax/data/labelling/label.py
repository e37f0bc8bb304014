"""Labels the rows of a data set by how often a policy solves them.

    python -m srpo_jax.curate label --model DIR --input DATASET --out DATASET2

Samples responses to every row with the sampler, the prompt and the rewards of training, and writes the rows with

    pass_rate   correct responses among those judged; also as pass@1, with pass@4 and pass@16 (unbiased)
    difficulty  unsolved (0), hard (up to 0.25), medium (up to 0.75), easy (below 1) or solved (1)
    rollouts    {n: judged, n_correct, n_truncated, n_unjudged}

and every field that they had. A difficulty of the set's own moves to `original_difficulty`. A row whose responses could
not be judged, whose prompt is too long or whose tests cannot be used stays without a label.

The results so far are kept in OUT.parts. Started again, it resumes from there and gives the same bytes. On several
hosts, start it on each with --host I --hosts N; when all are done, once with --merge.

The settings of training come from --config (fields by --config.section.field=value).
"""

from collections.abc import Sequence

from srpo_jax.data.labelling.options import read_options
from srpo_jax.utils.errors import run_cli


def main(args: Sequence[str]) -> None:
  """Labels as the command line says."""
  options, overrides = read_options(args, __doc__ or "")
  from srpo_jax.data.labelling.work import label_rows  # imported late: --help does not wait for JAX

  label_rows(options, overrides)


if __name__ == "__main__":
  run_cli(main)
