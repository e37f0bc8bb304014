"""Fixtures shared by all tests. jaxtyping shapes are checked at every call."""

import os
from pathlib import Path

from jaxtyping import install_import_hook

# The hook affects only modules imported after it, so it comes before everything that imports srpo_jax.
install_import_hook(
  ["srpo_jax.algorithm", "srpo_jax.model", "srpo_jax.training.learner", "srpo_jax.training.batch"], "beartype.beartype"
)

import fsspec  # noqa: E402
import pytest  # noqa: E402

pytest.register_assert_rewrite("tests.helpers")  # a failed assert of a helper shows its values

from srpo_jax.model import hf  # noqa: E402
from srpo_jax.utils.cache import enable_compilation_cache  # noqa: E402
from tests.helpers.checkpoints import make_checkpoint, make_talkative  # noqa: E402
from tests.helpers.fake_gcs import serve  # noqa: E402
from tests.helpers.paths import ROOT  # noqa: E402
from tests.helpers.runs import launch, toy  # noqa: E402

enable_compilation_cache()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
  """A small tied checkpoint."""
  return make_checkpoint(tmp_path_factory.mktemp("tied"))


@pytest.fixture(scope="session")
def talkative(checkpoint, tmp_path_factory) -> Path:
  """The small checkpoint with many stop tokens."""
  return make_talkative(checkpoint, tmp_path_factory.mktemp("talkative") / "model")


@pytest.fixture(scope="session")
def model(checkpoint):
  """Shape and parameters of the small checkpoint, as srpo_jax loads them."""
  config = hf.read_config(checkpoint)
  return config, hf.load_params(checkpoint, config)


@pytest.fixture(scope="session")
def finished_run(talkative, tmp_path_factory) -> Path:
  """Workdir of one uninterrupted toy run. Tests read it and must not change it."""
  return launch(toy(talkative), tmp_path_factory.mktemp("run") / "a")


@pytest.fixture(scope="module")
def store():
  """A fake object store that serves gs:// paths while the tests of a module run."""
  with serve() as (store, env):
    before = dict(os.environ)
    os.environ.update(env)
    fsspec.config.conf["gcs"]["token"] = "anon"
    try:
      yield store
    finally:
      os.environ.clear()
      os.environ.update(before)


@pytest.fixture(scope="session")
def data_dir() -> Path:
  """Folder of real data. Skips the test if it is absent."""
  folder = Path(os.environ.get("SRPO_DATA", ROOT / ".." / "shared" / "data"))
  if not folder.is_dir():
    pytest.skip(f"real data folder {folder} is absent (set SRPO_DATA)")
  return folder
