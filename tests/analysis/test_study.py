"""Figures and tables of the study, made from the rows of runs."""

import json

import matplotlib.image
import pytest

from srpo_jax.analysis.study import REGIMES, RESAMPLING, main, spent_at
from srpo_jax.utils.errors import InputError


def write_run(folder, *, per_step, steps=(0, 2, 4), last=0.5):
  folder.mkdir(parents=True)
  metrics = [{"step": s, "stage": 1 + s // 2, "rollouts/spent": per_step * (s + 1)} for s in range(4)]
  evals = [{"step": s, "set": name, "pass@1": last * s / 4} for s in steps for name in ("sums", "programs")]
  for name, rows in (("metrics", metrics), ("eval", evals)):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rollouts_spent_by_the_time_of_an_evaluation():
  metrics = [{"step": 5, "rollouts/spent": 40}, {"step": 6, "rollouts/spent": 90}]
  assert [spent_at(metrics, step) for step in (5, 6, 7)] == [0, 40, 90]


def test_figures_and_tables(tmp_path, capsys):
  for name in REGIMES:
    write_run(tmp_path / f"regime-{name}", per_step=10)
  for number, name in enumerate(RESAMPLING, 1):
    write_run(tmp_path / f"resample-{name}", per_step=1000 * number, last=0.2 * number)
  main(["--runs", str(tmp_path), "--out", str(tmp_path / "out")])
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == "| run | steps | rollouts | sums | programs |"
  assert "| math, then code | 4 | 40 | 50.0 % | 50.0 % |" in lines
  assert "| history resampling (SRPO) | 4 | 12,000 | 60.0 % | 60.0 % |" in lines
  assert (tmp_path / "out" / "study.md").read_text().splitlines()[0] == lines[0]
  for figure in ("regimes", "resampling"):
    assert matplotlib.image.imread(tmp_path / "out" / f"{figure}.png").std() > 0.03


def test_a_missing_run_is_named(tmp_path):
  with pytest.raises(InputError, match=r"regime-math: expected the workdir of a run that evaluated"):
    main(["--runs", str(tmp_path)])
