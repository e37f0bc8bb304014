"""Trains a policy, or resumes a run.

    python -m srpo_jax.launch --config=configs/tiny.py [--workdir=DIR] [--config.section.field=value ...]

The same command with the same workdir resumes the run. SIGTERM or Ctrl-C saves a checkpoint and ends it.

To train on several hosts, start the same command on each of them, with a workdir that all of them share. On a TPU pod
or under Slurm, JAX finds the processes by itself. Elsewhere, add --coordinator=HOST:PORT --num_processes=N
--process_id=I.
"""

from collections.abc import Sequence

from srpo_jax.cli.run_flags import read_options, resolve
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Trains, then prints the tables of the run."""
  options, overrides = read_options("launch", __doc__ or "", args)
  from srpo_jax.utils import processes  # imported late, like all below, so that --help does not wait for JAX
  from srpo_jax.utils.preemption import PreemptionSignal

  with PreemptionSignal() as preemption:
    config, workdir, group = resolve("launch", options, overrides)
    with processes.joined(**group):
      preemption.listen()  # JAX's own handler has replaced ours, and it ignores SIGTERM before the first step
      start_logging(processes.index() if processes.count() > 1 else None)
      from srpo_jax.analysis.summary import summarize
      from srpo_jax.training.loop import train
      from srpo_jax.training.run import Run
      from srpo_jax.utils.cache import enable_compilation_cache

      enable_compilation_cache()
      with Run(config, workdir, preemption) as run, processes.leaving_at_failure():
        train(run)
      if processes.is_writer():
        summarize(workdir)


if __name__ == "__main__":
  run_cli(main)
