"""Trains: python -m srpo_jax.launch --config=configs/tiny.py [--workdir=DIR] [--config.section.field=value ...]

Started again on the same workdir it resumes. SIGTERM, or Ctrl-C, saves a checkpoint and ends it.

On several hosts the same command is started on each, with a workdir that all of them see. A TPU pod or Slurm tells JAX
which they are; elsewhere --coordinator=HOST:PORT --num_processes=N --process_id=I do.
"""

from collections.abc import Sequence
from pathlib import Path

from srpo_jax.cli.config_flags import parse_config_and
from srpo_jax.config import Config, make_config
from srpo_jax.utils import processes
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.paths import as_path
from srpo_jax.utils.preemption import Notice

GROUP_FLAGS = {
  "coordinator": "HOST:PORT of process 0, where a cluster does not tell; or JAX_COORDINATOR_ADDRESS.",
  "num_processes": "Of the group; or JAX_NUM_PROCESSES.",
  "process_id": "From 0; or JAX_PROCESS_ID.",
}


def parse_flags(args: Sequence[str], doc: str = __doc__ or "") -> tuple[Config, Path, dict[str, str | None]]:
  """The checked config, the workdir (default runs/NAME of the config file), and what `distributed.joined` is given.

  Args:
    doc: what --help prints.

  Raises:
    InputError: anything that absl or ml_collections would end with a traceback.
  """
  workdir_help = "Where the run's files go, a folder or gs://BUCKET/FOLDER; default runs/NAME."
  raw, name, given = parse_config_and("launch", doc, args, {"workdir": workdir_help} | GROUP_FLAGS)
  workdir = as_path(given.pop("workdir") or Path("runs") / name)
  return make_config(raw), workdir, given


def main(args: Sequence[str]) -> None:
  with Notice() as notice:
    config, workdir, group = parse_flags(args)
    with processes.joined(**group):
      notice.listen()  # JAX's own service took SIGTERM over: it would leave out what comes before the first step
      start_logging(processes.index() if processes.count() > 1 else None)
      # Imported late: a wrong flag is told at once.
      from srpo_jax.analysis.summary import summarize
      from srpo_jax.training.loop import train
      from srpo_jax.training.run import Run
      from srpo_jax.utils.cache import enable_compilation_cache

      enable_compilation_cache()
      with Run(config, workdir, notice) as run, processes.leaving_at_failure():
        train(run)
      if processes.is_writer():
        summarize(workdir)


if __name__ == "__main__":
  run_cli(main)
