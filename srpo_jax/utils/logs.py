"""The log of an entry point: its own lines, and of libraries their errors alone."""

import logging

LIBRARIES = ("absl", "jax", "orbax", "transformers", "datasets", "fsspec", "huggingface_hub", "httpx")


def start_logging(process: int | None = None) -> None:
  """Lines with the time of day on standard error; what a library set up before is replaced.

  Args:
    process: number of this process, put before every line. All but the first log only warnings.
  """
  level = logging.WARNING if process else logging.INFO
  name = "" if process is None else f"[{process}] "
  logging.basicConfig(level=level, format=f"%(asctime)s {name}%(message)s", datefmt="%H:%M:%S", force=True)
  for library in LIBRARIES:
    logging.getLogger(library).setLevel(logging.ERROR)
