"""The notebooks: stored without noise and with their figures; and run, on a run that is made here."""

import importlib
import shutil
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from srpo_jax.analysis.groups import as_groups
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, toy

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_stored_with_figures_and_without_noise(file):
  notebook = nbformat.read(file, as_version=4)
  nbformat.validate(notebook)
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert all(cell.execution_count is None and cell.metadata == {} for cell in code)
  outputs = [output for cell in code for output in cell.outputs]
  assert all(output.output_type in ("stream", "display_data") for output in outputs)
  assert any("image/png" in o.get("data", {}) or "image/svg+xml" in o.get("data", {}) for o in outputs)
  assert not any("/tmp" in o.get("text", "") or "/home" in o.get("text", "") for o in outputs)
  assert not any("def " in cell.source or "class " in cell.source for cell in code)  # the package defines


def test_there_are_three():
  assert [file.stem for file in NOTEBOOKS] == ["advantages", "history", "training_curves"]


RUNS = {
  "two epochs": {"train__steps": 0, "train__epochs": 2},
  "no epoch yet": {"train__steps": 1},
  "nothing retired, groups left out": {"history__mode": "none", "history__dynamic_sampling": True},
}


@pytest.mark.slow  # about 40 s each: three kernels
@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS.keys())
def test_they_run(changes, talkative, tmp_path, monkeypatch):
  workdir = launch(toy(talkative, **changes), tmp_path / "run")
  monkeypatch.syspath_prepend(ROOT / "notebooks")
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  refresh = importlib.import_module("refresh")
  for file in NOTEBOOKS:
    notebook = nbformat.read(shutil.copy(file, tmp_path), as_version=4)
    for cell in notebook.cells:
      cell.pop("outputs", None) if cell.cell_type == "markdown" else cell.update(outputs=[])
    refresh.run(notebook, workdir, tmp_path)
    refresh.strip(notebook)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any(output.output_type == "display_data" for output in shown), file
    if file.stem == "advantages":
      assert sum(output.output_type == "display_data" for output in shown) == 3  # what the update moved among them
      lines = [line.split() for output in shown for line in output.get("text", "").splitlines()]
      differing = {line[0]: line[2] for line in lines if len(line) == 4 and line[1].isdigit()}
      assert differing["advantage"] == differing["policy/loss"] == "0" and set(differing.values()) == {"0"}
  sys.modules.pop("refresh")


def frame(**changes):
  rows = [
    {"step": 3, "prompt_id": p, "sample": s, "reward": r, "correct": c, "truncated": t, "advantage": a}
    for p, s, r, c, t, a in (
      ("b", 1, 0.1, 0, True, -1.0), ("b", 0, 1.1, 1, False, 1.0), ("a", 0, None, None, False, 0.0),
      ("a", 1, 0.0, 0, False, 0.5),
    )
  ]  # fmt: skip
  return pd.DataFrame(rows).assign(**changes)


def test_groups():
  groups = as_groups(frame())
  assert groups.prompts == ["a", "b"]
  np.testing.assert_array_equal(groups.rewards, [[np.nan, 0.0], [1.1, 0.1]])
  np.testing.assert_array_equal(groups.correct, [[False, False], [True, False]])
  np.testing.assert_array_equal(groups.judged, [[False, True], [True, True]])
  np.testing.assert_array_equal(groups.truncated, [[False, False], [False, True]])
  np.testing.assert_array_equal(groups.advantages, [[0.0, 0.5], [1.0, -1.0]])


def test_rows_that_are_no_groups():
  with pytest.raises(ValueError, match="2 steps"):
    as_groups(frame(step=[3, 3, 3, 4]))
  with pytest.raises(ValueError, match="different sizes"):
    as_groups(frame().iloc[:3])
