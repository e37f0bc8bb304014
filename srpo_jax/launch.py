"""Trains: python -m srpo_jax.launch --config=configs/tiny.py [--workdir=DIR] [--config.section.field=value ...]

Started again on the same workdir it resumes. SIGTERM or Ctrl-C saves a checkpoint and ends the run.

On several hosts, start the same command on each, with a workdir that all of them see. A TPU pod or Slurm tells JAX
which processes there are. Elsewhere, name them by --coordinator=HOST:PORT --num_processes=N --process_id=I.
"""

from collections.abc import Sequence

from srpo_jax.cli.run_flags import read_options, resolve
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Trains as the command line says, then prints the tables of the run."""
  options, overrides = read_options("launch", __doc__ or "", args)
  from srpo_jax.utils import processes  # imported late, as all below: --help does not wait for JAX
  from srpo_jax.utils.preemption import PreemptionSignal

  with PreemptionSignal() as preemption:
    config, workdir, group = resolve("launch", options, overrides)
    with processes.joined(**group):
      preemption.listen()  # JAX's own service took SIGTERM over: it would leave out what comes before the first step
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
