"""Log of an entry point: its own lines, and only errors of libraries."""

import logging

from srpo_jax.utils.text import VisibleFormatter

LIBRARIES = ("absl", "jax", "orbax", "transformers", "datasets", "fsspec", "huggingface_hub", "httpx", "httpx2")


def start_logging(process: int | None = None) -> None:
  """Starts logging to standard error, with the time of day on each line. Replaces any earlier setup by a library.

  Args:
    process: number of this process, shown on every line. All processes except process 0 log only warnings.
  """
  level = logging.WARNING if process else logging.INFO
  name = "" if process is None else f"[{process}] "
  handler = logging.StreamHandler()
  handler.setFormatter(VisibleFormatter(f"%(asctime)s {name}%(message)s", "%H:%M:%S"))
  logging.basicConfig(level=level, handlers=[handler], force=True)
  for library in LIBRARIES:
    logging.getLogger(library).setLevel(logging.ERROR)
