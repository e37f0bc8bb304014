"""Precision and recall on cases that a person who had not seen the rules wrote. The figures are those in RESULTS.md."""

from pathlib import Path

import pytest

from benchmarks.reflection import score

CASES = Path(__file__).parent.parent / "data" / "cases"


@pytest.mark.parametrize(
  ("name", "half", "precision", "recall"),
  [
    ("language", "open", 1.0, 1.0),
    ("language", "closed", 1.0, 0.933),
    ("reflection", "open", 1.0, 1.0),
    ("reflection", "closed", 1.0, 0.7),
    ("code", "open", 1.0, 1.0),
    ("code", "closed", 1.0, 0.933),
  ],
)
def test_the_recorded_figures_hold(name, half, precision, recall):
  figures, _ = score(CASES, name, half)
  assert figures["precision"] >= precision and figures["recall"] >= recall, figures
