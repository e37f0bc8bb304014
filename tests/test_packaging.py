"""The wheel holds all files that it needs, and the pinned versions lie in the stated ranges."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPES = sorted(path.name for path in (ROOT / "configs").glob("*.py"))
SHOW = "from srpo_jax.cli.run_flags import parse_flags; import sys; print(parse_flags(sys.argv[1:])[:2])"


def test_constraints_lie_in_the_ranges():
  lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
  pins = {
    canonicalize_name(r.name): r.specifier for r in map(Requirement, (s for s in lines if s[:1] not in ("", "#")))
  }
  for line in [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]:
    wanted = Requirement(line)
    pin = str(pins[canonicalize_name(wanted.name)])
    assert pin.startswith("==") and wanted.specifier.contains(pin.removeprefix("==")), (line, pin)


def test_exact_versions_give_a_reason():
  for line in (ROOT / "pyproject.toml").read_text().splitlines():
    if re.match(r'\s+"[\w-]+==', line):
      assert "  # " in line, line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
  """Wheel built from a copy of the tree, because a build leaves files behind."""
  folder = tmp_path_factory.mktemp("wheel")
  for name in ("srpo_jax", "configs"):
    shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
  for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, folder / "tree")
  pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}", str(folder / "tree")]
  subprocess.run(pip, check=True, timeout=600)
  return next(folder.glob("srpo_jax-*.whl"))


@pytest.mark.slow  # 30 s: pip fetches setuptools and builds
def test_wheel_holds_recipes_and_data_files(wheel):
  names = zipfile.ZipFile(wheel).namelist()
  assert {f"srpo_jax/configs/{name}" for name in RECIPES} <= set(names)
  assert {f"srpo_jax/analysis/page/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
  assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"srpo_jax"}
  assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_recipes_load_from_the_wheel(wheel, tmp_path):
  site, empty, own = tmp_path / "site", tmp_path / "empty", tmp_path / "own"
  zipfile.ZipFile(wheel).extractall(site)
  (own / "configs").mkdir(parents=True)
  empty.mkdir()
  (own / "configs" / "tiny.py").write_text("from configs import stage1 as _, base\n\nget_config = base.get_config\n")

  def call(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), sysconfig.get_paths()["purelib"]])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": path}
    command = [sys.executable, "-c", SHOW, *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)

  shipped = call(empty, "--config=configs/tiny.py:staged", "--config.train.steps=3")
  assert shipped.returncode == 0, shipped.stderr
  assert "steps=3" in shipped.stdout and "runs/tiny-staged" in shipped.stdout
  lines = [line for line in shipped.stderr.splitlines() if "is not in the current directory" in line]
  assert len(lines) == 1 and lines[0].endswith(f"{site}/srpo_jax/configs/tiny.py")
  spaced = call(empty, "--config", "configs/tiny.py")
  assert spaced.returncode == 0 and "runs/tiny" in spaced.stdout
  mine = call(own, "--config=configs/tiny.py", "--config.model.path=base", "--config.data.train=none",
              "--config.train.steps=5")  # fmt: skip
  assert mine.returncode == 0, mine.stderr
  assert "steps=5" in mine.stdout and "is not in the current directory" not in mine.stderr
  assert "configs/none.py: no such file" in call(empty, "--config=configs/none.py").stderr
