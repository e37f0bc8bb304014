"""Tests of the benchmarks' comparisons, on cases worked out from LiveCodeBench's own code."""

import pytest

from srpo_jax.rewards.benchmark_rules import same_json_value, same_lines, same_value


@pytest.mark.parametrize(
  ("found", "expected", "same"),
  [
    ("3\n", "3", True),
    ("\n\n3\n\n", "3", True),
    ("  3 \n 4  ", "3\n4", True),
    ("3.0", "3", True),
    ("1e1 2", "10 2.00", True),
    ("1e1 2", "10 2.01", False),
    ("0.30000000000000004", "0.3", False),
    ("YES", "Yes", False),
    ("1  2", "1 2", True),  # as numbers
    ("a  b", "a b", False),  # as texts
    ("1 a", "1.0 a", False),  # one word is no number
    ("3\n\n4", "3\n4", False),
    ("3\n \n4", "3\n\n4", True),
    ("", "", True),
    ("", "0", False),
    ("nan", "nan", True),
    ("NaN 1", "nan 1.0", False),
    ("Infinity", "inf", True),
    ("1_000", "1000", True),
    ("4\r\n5\r", "4\n5", True),
  ],
)
def test_outputs_by_livecodebench(found, expected, same):
  assert same_lines(found, expected) == same


@pytest.mark.parametrize(
  ("found", "expected", "json", "python"),
  [
    ((1, 2), [1, 2], True, False),
    ([(1, 2)], [[1, 2]], False, False),
    ([1, 2], [1, 2], True, True),
    (0.1 + 0.2, 0.3, False, False),
    (2.0, 2, True, True),
    (True, 1, True, True),
    (float("nan"), float("nan"), False, False),
  ],
)
def test_values_by_each_benchmark(found, expected, json, python):
  assert (same_json_value(found, expected), same_value(found, expected)) == (json, python)
