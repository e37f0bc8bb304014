"""Types of command-line arguments, with values that they accept and refuse."""

import argparse
import datetime
from pathlib import Path

import pytest

from srpo_jax.cli.argument_types import day, local_path, number, path, positive, share, whole


@pytest.mark.parametrize(
  ("kind", "text", "value"),
  [
    (whole(1), "1", 1),
    (whole(0, 65535), "65535", 65535),
    (number(0), "0", 0.0),
    (number(0, 1), "1", 1.0),
    (positive, "1e-9", 1e-9),
    (share, "0.95", 0.95),
    (day, "2025-02-01", datetime.date(2025, 2, 1)),
    (path, "runs/a", Path("runs/a")),
    (local_path, "runs/a", Path("runs/a")),
  ],
)
def test_accepted(kind, text, value):
  assert kind(text) == value


@pytest.mark.parametrize(
  ("kind", "text", "words"),
  [
    (whole(1), "0", "a whole number of at least 1, got '0'"),
    (whole(1), "-1", "of at least 1"),
    (whole(1), "1.0", "of at least 1"),
    (whole(1), "³", "of at least 1"),
    (whole(0, 65535), "65536", "from 0 to 65535, got '65536'"),
    (number(0), "-1", "a number from 0 on, got '-1'"),
    (number(0), "inf", "from 0 on"),
    (number(0, 1), "1.5", "a number from 0 to 1"),
    (number(0, 1), "nan", "from 0 to 1"),
    (positive, "0", "a positive number, got 0"),
    (positive, "inf", "a positive number"),
    (positive, "soon", "a positive number, got soon"),
    (share, "0", "a number above 0"),
    (share, "2", "from 0 to 1"),
    (day, "2024", "expected YYYY-MM-DD, got '2024'"),
    (path, "s3://bucket/run", "or gs://BUCKET/FOLDER"),
    (local_path, "gs://bucket/run", "expected a local folder"),
  ],
)
def test_refused(kind, text, words):
  with pytest.raises(argparse.ArgumentTypeError, match=words):
    kind(text)
