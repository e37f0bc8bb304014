"""Progress bar and log lines of a training run."""

import logging
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class Progress:
  """Progress bar over steps with reward, accuracy, response length, share of zero-advantage groups, and time left."""

  def __init__(self, first: int, last: int | None, log_every: int, *, show: bool):
    """Starts the bar at step `first` of `last` (None: unknown). A line is logged every `log_every` steps."""
    self._log_every = log_every
    self._bar = tqdm(
      total=last, initial=first, disable=not show,
      unit="step", dynamic_ncols=True, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
    )  # fmt: skip
    self._redirect = logging_redirect_tqdm()

  def __enter__(self) -> "Progress":
    self._redirect.__enter__()
    return self

  def step(self, row: dict[str, Any]) -> None:
    shown = {
      "reward": row["reward/mean"],
      "acc": row["reward/accuracy"],
      "len": row["response/length_mean"],
      "zero-adv": row["groups/zero_advantage_frac"],
    }
    texts = {name: "-" if value is None else f"{value:.3g}" for name, value in shown.items()}
    self._bar.set_postfix(texts, refresh=False)
    self._bar.update()
    if row["step"] % self._log_every == 0:
      logging.info("step %d: %s", row["step"], ", ".join(f"{name} {text}" for name, text in texts.items()))

  def __exit__(self, *error: Any) -> None:
    self._redirect.__exit__(*error)
    self._bar.close()
