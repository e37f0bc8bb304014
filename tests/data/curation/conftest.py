"""Fixtures that run small curations through the entry point."""

import pytest

from srpo_jax import curate
from tests.helpers.curation import EVAL_SETS


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
  """Gives every test its own caches, so that no test sees what another verified or loaded."""
  import datasets

  monkeypatch.setenv("SRPO_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def run(tmp_path):
  """Runs `srpo_jax.curate` in this process, on small files and with one worker."""

  def call(output, *flags, **paths):
    arguments = [
      "--config=configs/curate.py", f"--config.output={output}", "--config.work.progress=False",
      "--config.work.workers=1", *(f"--config.eval_sets.{name}.path=none" for name in EVAL_SETS),
      *(f"--config.sources.{name}.path={path}" for name, path in paths.items()), *flags,
    ]  # fmt: skip
    curate.main(arguments)
    return output

  return call
