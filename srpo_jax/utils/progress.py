"""Progress bars for work that may take long."""

from typing import Any

from tqdm import tqdm

DELAY_S = 3.0


def late_bar(what: str, total: int | None, *, shown: bool = True) -> "tqdm[Any]":
  """Returns a progress bar over responses.

  It is drawn only on a terminal, appears after DELAY_S seconds, and disappears when the work is done.
  """
  hidden = None if shown else True  # None hides it only if there is no terminal
  return tqdm(total=total, desc=what, unit=" responses", disable=hidden, delay=DELAY_S, leave=False, dynamic_ncols=True)
