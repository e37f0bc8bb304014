"""Small curations: a config with evaluation sets of its own, run by the entry point."""

import pytest

from srpo_jax import curate
from tests.helpers.curation import EVAL_SETS


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
  """What one test verified or loaded is not known to another."""
  import datasets

  monkeypatch.setenv("SRPO_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def run(tmp_path):
  """Runs `python -m srpo_jax.curate` in this process on small files, one worker."""

  def call(output, *flags, **paths):
    arguments = [
      "--config=configs/curate.py", f"--config.output={output}", "--config.work.progress=False",
      "--config.work.workers=1", *(f"--config.eval_sets.{name}.path=none" for name in EVAL_SETS),
      *(f"--config.sources.{name}.path={path}" for name, path in paths.items()), *flags,
    ]  # fmt: skip
    curate.main(arguments)
    return output

  return call
