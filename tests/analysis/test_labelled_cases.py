"""Precision and recall on cases that a person who had not seen the rules wrote. The figures are those in RESULTS.md."""

import runpy
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
score = runpy.run_path(str(TESTS.parent / "benchmarks" / "reflection.py"))["score"]


@pytest.mark.parametrize(
  ("name", "half", "precision", "recall"),
  [
    ("language", "open", 1.0, 1.0),
    ("language", "closed", 1.0, 0.933),
    ("reflection", "open", 0.988, 0.994),
    ("reflection", "closed", 0.953, 0.745),
    ("code", "open", 1.0, 1.0),
    ("code", "closed", 1.0, 0.933),
  ],
)
def test_the_recorded_figures_hold(name, half, precision, recall):
  figures, _ = score(TESTS / "data" / "cases", name, half)
  assert figures["precision"] >= precision and figures["recall"] >= recall, figures
