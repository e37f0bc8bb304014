"""The notebooks are stored with figures and without noise, and they run on a fresh toy run."""

import base64
import importlib
import io
import shutil
import sys

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

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
  assert any("image/png" in o.get("data", {}) for o in outputs)
  assert not any("/tmp" in o.get("text", "") or "/home" in o.get("text", "") for o in outputs)
  assert not any("def " in cell.source or "class " in cell.source for cell in code)  # definitions belong in the package


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_stored_small_and_with_png_only(file):
  content = file.read_text()
  assert len(content.splitlines()) <= 600 and len(content) <= 300_000
  outputs = [o for cell in nbformat.reads(content, as_version=4).cells for o in cell.get("outputs", [])]
  assert all(set(o.get("data", {})) <= {"image/png", "text/plain"} for o in outputs)
  assert all(set(o.data) == {"image/png"} for o in outputs if "image/png" in o.get("data", {}))


@pytest.fixture
def refresh(monkeypatch):
  monkeypatch.syspath_prepend(ROOT / "notebooks")
  yield importlib.import_module("refresh")
  sys.modules.pop("refresh")


@pytest.mark.parametrize(
  ("text", "data", "words"),
  [
    ("x\n" * 700, {}, r"large\.ipynb: \d+ lines, expected at most 600"),
    ("x" * 300_001, {}, r"large\.ipynb: \d+ bytes, expected at most 300000"),
    ("x", {"image/svg+xml": "<svg/>"}, r"large\.ipynb: stores image/svg\+xml, expected figures as image/png"),
    ("x", {"text/html": "<b/>"}, r"large\.ipynb: stores text/html, expected"),
  ],
)
def test_sizes_that_are_refused(text, data, words, refresh, tmp_path):
  outputs = [nbformat.v4.new_output("display_data", data)]
  cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("1", outputs=outputs)]
  nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "large.ipynb")
  with pytest.raises(refresh.InputError, match=words):
    refresh.check_size(tmp_path / "large.ipynb")


def test_a_stored_figure_is_a_smaller_png_of_the_same_size(refresh):
  figure, axis = plt.subplots()
  axis.plot(np.random.default_rng(0).random((200, 5)))
  out = io.BytesIO()
  figure.savefig(out, format="png")
  plt.close(figure)
  small = base64.b64decode(refresh.shrink(base64.b64encode(out.getvalue()).decode()))
  image = Image.open(io.BytesIO(small))
  assert (image.format, image.size) == ("PNG", Image.open(out).size)
  assert len(small) < len(out.getvalue()) / 2 and len(image.getcolors()) <= 64


def test_there_are_three():
  assert [file.stem for file in NOTEBOOKS] == ["advantages", "history", "training_curves"]


RUNS = {
  "two epochs": {"train__steps": 0, "train__epochs": 2},
  "no epoch yet": {"train__steps": 1},
  "nothing retired, groups left out": {"history__mode": "none", "history__dynamic_sampling": True},
}


@pytest.mark.slow  # about 40 s each, for three kernels
@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS.keys())
def test_they_run(changes, talkative, tmp_path, monkeypatch, refresh):
  workdir = launch(toy(talkative, **changes), tmp_path / "run")
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  for file in NOTEBOOKS:
    notebook = nbformat.read(shutil.copy(file, tmp_path), as_version=4)
    for cell in notebook.cells:
      cell.pop("outputs", None) if cell.cell_type == "markdown" else cell.update(outputs=[])
    refresh.run(notebook, workdir, tmp_path)
    refresh.strip(notebook)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any(output.output_type == "display_data" for output in shown), file
    if file.stem == "advantages":
      assert (
        sum(output.output_type == "display_data" for output in shown) == 3
      )  # one of them shows how the update moved log-probs
      lines = [line.split() for output in shown for line in output.get("text", "").splitlines()]
      differing = {line[0]: line[2] for line in lines if len(line) == 4 and line[1].isdigit()}
      assert differing["advantage"] == differing["policy/loss"] == "0" and set(differing.values()) == {"0"}


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


def test_rows_that_form_no_groups_are_refused():
  with pytest.raises(ValueError, match="2 steps"):
    as_groups(frame(step=[3, 3, 3, 4]))
  with pytest.raises(ValueError, match="different sizes"):
    as_groups(frame().iloc[:3])
