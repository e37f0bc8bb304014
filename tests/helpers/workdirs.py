"""Helper that fills the files of a workdir with rows."""

from collections.abc import Iterable

from srpo_jax.training.workdir import Workdir


def fill(files: Workdir, steps: Iterable[int]) -> None:
  """Writes a row of metrics and a rollout for each step."""
  for step in steps:
    files.write_metrics({"step": step, "reward/mean": step / 10, "policy/loss": None})
    files.write_rollouts(step, [{"step": step, "prompt_id": "a"}])
