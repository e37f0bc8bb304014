"""Loading of config files, one-line errors for bad ones, and their fields in --help."""

import importlib.machinery
import subprocess
import sys

import pytest

from configs import tiny
from srpo_jax.cli.config_flags import fields_help, load_config, parse_config
from srpo_jax.config import Config, make_config
from srpo_jax.model.transformer import REMAT_POLICIES
from srpo_jax.rewards.format import VALIDATORS
from srpo_jax.sandbox.tiers import TIERS
from srpo_jax.utils import fields
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT

HEADER = "from ml_collections import ConfigDict\n\n\ndef get_config(name=''):\n  "


def test_a_config_file_is_loaded_without_load_module(monkeypatch):
  def gone(self, name):
    raise AttributeError("load_module: not in Python 3.15")

  monkeypatch.setattr(importlib.machinery.SourceFileLoader, "load_module", gone)
  args = ["--config", "configs/tiny.py:staged", "--config.train.steps=3"]
  raw, name = parse_config("launch", args)
  expected = tiny.get_config("staged")
  expected.train.steps = 3
  assert make_config(raw) == make_config(expected)
  assert name == "tiny-staged"


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(:\n", "{}:1: "),
    ("import no_such_module\n", "{}: ModuleNotFoundError: No module named 'no_such_module'"),
    (f"{HEADER}raise ValueError('staged, not stagd')\n", "flags: ValueError: staged, not stagd ({})"),
    (f"{HEADER}return ConfigDict({{}}).bogus\n", "flags: AttributeError: "),
    (f"{HEADER}return 3\n", "{}: expected get_config() to return a ConfigDict, got int"),
    ("x = 1\n", "flags: AttributeError: module 'srpo_jax_config_file' has no attribute 'get_config' ({})"),
  ],
)
def test_an_error_in_a_config_file_is_one_line(tmp_path, text, message):
  file = tmp_path / "mine.py"
  file.write_text(text)
  with pytest.raises(InputError) as error:
    parse_config("launch", [f"--config={file}"])
  assert str(error.value).startswith(message.format(file))


def test_a_variant_that_is_unknown():
  with pytest.raises(InputError, match=r"^flags: ValueError: stagd: expected one of .* \(configs/tiny\.py:stagd\)$"):
    load_config("configs/tiny.py:stagd")


def test_choices_match_the_code_that_takes_them():
  """Compares the choices in config.py with the code. config.py repeats them to avoid importing JAX and the judges."""
  stated = {
    f"{kind.name}.{entry.name}": entry.metadata["spec"].choices
    for kind in fields.dataclasses.fields(Config)
    if fields.dataclasses.is_dataclass(kind.default)
    for entry in fields.dataclasses.fields(kind.default)
  }
  assert stated["model.remat"] == tuple(REMAT_POLICIES)
  assert stated["reward.validator"] == VALIDATORS and stated["sandbox.min_tier"] == TIERS


def test_help_shows_the_values_of_the_file():
  text = fields_help(Config, ["--config=configs/tiny.py:staged"])
  assert "configs/tiny.py:staged" in text.splitlines()[0]
  for line in ("  --config.rollout.group=16", "  --config.stages.stage1.steps=110", "  --config.stages.stage2.ramp=20"):
    assert line in text.splitlines()
  assert "  --config.rollout.group=32\n      Responses per prompt. [S] (int; at least 2)\n" in fields_help(Config)
  with pytest.raises(InputError, match=r"configs/none\.py: no such file"):
    fields_help(Config, ["--config=configs/none.py"])


def test_a_config_is_read_without_jax():
  heavy = ("jax", "tensorflow", "orbax", "transformers", "pandas", "scipy")
  program = (
    "import sys; from srpo_jax.cli.config_flags import fields_help; from srpo_jax.config import Config; "
    f"fields_help(Config, ['--config=configs/tiny.py']); print([m for m in {heavy} if m in sys.modules])"
  )
  done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout == "[]\n"
