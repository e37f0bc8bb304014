"""Progress bars for what may take long."""

from typing import Any

from tqdm import tqdm

DELAY_S = 3.0


def late_bar(what: str, total: int | None, *, shown: bool = True) -> "tqdm[Any]":
  """A bar over responses, on a terminal, that appears once the work has taken some seconds and goes when it is done."""
  hidden = None if shown else True  # None: where there is no terminal
  return tqdm(total=total, desc=what, unit=" responses", disable=hidden, delay=DELAY_S, leave=False, dynamic_ncols=True)
