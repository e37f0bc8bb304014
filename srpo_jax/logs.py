"""The log of an entry point: its own lines, and of libraries their errors alone."""

import logging

LIBRARIES = ("absl", "jax", "orbax", "transformers", "datasets", "fsspec", "huggingface_hub", "httpx")


def start_logging() -> None:
  """Lines with the time of day on standard error; what a library set up before is replaced."""
  logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
  for library in LIBRARIES:
    logging.getLogger(library).setLevel(logging.ERROR)
