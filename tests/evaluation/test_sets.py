"""Sources of evaluation sets, windows of contest dates, and errors for sets that cannot be opened."""

import datetime
import gzip
import json
import sys
import types

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srpo_jax.data.records_writer import write_records
from srpo_jax.evaluation.sets import NAMED, Window, open_sets
from srpo_jax.utils.errors import InputError

CASES = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
MATH = {"problem": "1 + 1?", "answer": "2"}


def day(text: str) -> datetime.date:
  return datetime.date.fromisoformat(text)


def contest(number: int, date: str | None, **more):
  row = {"question_id": f"q{number}", "question_content": f"Add one, {number}.", "starter_code": "",
         "public_test_cases": CASES, "private_test_cases": "", "difficulty": "easy"}  # fmt: skip
  return row | ({} if date is None else {"contest_date": date}) | more


def write(file, rows):
  file.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return file


def ids(specs, data=None, **kwargs):
  return [[problem.id for problem in set_.problems] for set_ in open_sets(specs, data, **kwargs)]


def test_a_short_name_is_a_file_of_the_data_folder(tmp_path):
  write(tmp_path / "aime24.jsonl", [MATH, MATH])
  write(tmp_path / "gsm8k_test.jsonl", [{"question": "?", "answer": "#### 3"}])
  pq.write_table(pa.Table.from_pylist([MATH]), tmp_path / "math500.parquet")
  sets = open_sets(["aime24", "gsm8k", "math500"], tmp_path)
  assert [(set_.name, len(set_.problems)) for set_ in sets] == [("aime24", 2), ("gsm8k", 1), ("math500", 1)]
  assert sets[1].problems[0].answer == "3" and sets[1].problems[0].source == "gsm8k"


def test_the_real_sets_open_by_name(data_dir):
  names = ["aime24", "amc23", "math500", "gsm8k", "humaneval", "mbpp"]
  sets = open_sets(names, data_dir)
  assert [len(set_.problems) for set_ in sets] == [30, 40, 500, 1319, 164, 399]
  assert {problem.difficulty for problem in sets[2].problems} == {f"Level {n}" for n in range(1, 6)}


def test_files_records_and_callables(tmp_path):
  write(tmp_path / "my.jsonl", [MATH, MATH])
  rows = [{"id": "a", "domain": "math", "question": "?", "answer": "1"}]
  write_records(tmp_path / "records", rows, name="toy", version="1.0.0", description="")
  sets = open_sets(
    [str(tmp_path / "my.jsonl"), str(tmp_path / "records"), "tests.helpers.label_plugins:rows"], None, limit=2
  )
  assert [(set_.name, len(set_.problems)) for set_ in sets] == [("my", 2), ("records", 1), ("rows", 2)]


def test_a_folder_as_the_hub_has_it_and_originals_of_sets(tmp_path):
  (tmp_path / "aime" / "data").mkdir(parents=True)
  pq.write_table(pa.Table.from_pylist([MATH, MATH]), tmp_path / "aime" / "data" / "test-00000-of-00001.parquet")
  (tmp_path / "my.json").write_text(json.dumps([MATH]))
  (tmp_path / "math500.jsonl.gz").write_bytes(gzip.compress(json.dumps(MATH).encode()))
  sets = open_sets([str(tmp_path / "aime"), str(tmp_path / "my.json"), "math500"], tmp_path)
  assert [(set_.name, len(set_.problems)) for set_ in sets] == [("aime", 2), ("my", 1), ("math500", 1)]


@pytest.fixture
def hub(monkeypatch):
  """Stands in for the hub. It records (repository or files, subset, split) of each call and returns `rows`."""
  asked = types.SimpleNamespace(calls=[], rows=[])

  def load(path, subset=None, *, split, data_files=None):
    asked.calls.append((data_files or path, subset, split))
    return datasets.Dataset.from_list(asked.rows)

  monkeypatch.setattr(datasets, "load_dataset", load)
  return asked


def test_a_name_without_a_file_is_read_from_the_hub(hub, tmp_path):
  # Columns of MATH-500.
  hub.rows = [{"problem": "1+1?", "solution": "", "answer": "2", "subject": "Algebra", "level": 5, "unique_id": "a/1"}]
  (problem,) = open_sets(["math500"], tmp_path)[0].problems
  assert (problem.id, problem.answer, problem.difficulty, problem.source) == ("a/1", "2", "Level 5", "math/Algebra")
  # Columns of AMC, which would be detected as the format of GSM8K.
  hub.rows = [{"id": 7, "question": "1+1?", "answer": "2", "url": ""}]
  (problem,) = open_sets(["amc23"], None)[0].problems
  assert (problem.id, problem.question, problem.answer) == ("7", "1+1?", "2")
  hub.rows = [{"text": json.dumps(contest(1, "2025-01-02"))}, {"text": json.dumps(contest(2, "2025-01-03"))}]
  assert ids(["lcb"]) == [["q1", "q2"]]
  hub.rows = [{"question": "?", "answer": "#### 3"}]
  sets = open_sets(["someone/some-set", "someone/some-set:main", "someone/some-set:main:train[:10%]"], None)
  names = ["someone_some-set", "someone_some-set_main", "someone_some-set_main_train__10__"]
  assert [set_.name for set_ in sets] == names
  assert hub.calls == [
    ("HuggingFaceH4/MATH-500", None, "test"),
    ("math-ai/amc23", None, "test"),
    ("hf://datasets/livecodebench/code_generation_lite/test*.jsonl", None, "train"),
    ("someone/some-set", None, "test"),
    ("someone/some-set", "main", "test"),
    ("someone/some-set", "main", "train[:10%]"),
  ]


def test_an_unreachable_hub_is_one_line_that_says_how_to_help(monkeypatch, tmp_path):
  def load(*_, **__):
    raise ConnectionError("no route\nto host")

  monkeypatch.setattr(datasets, "load_dataset", load)
  message = r"--sets: aime24: HuggingFaceH4/aime_2024 cannot be loaded: ConnectionError: no route to host; "
  with pytest.raises(InputError, match=message + rf"--data {tmp_path} has no aime24\.jsonl or \.parquet"):
    open_sets(["aime24"], tmp_path)
  with pytest.raises(InputError, match=message + r"without --data, where aime24\.jsonl"):
    open_sets(["aime24"], None)


def test_files_are_read_without_the_hubs_library(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "datasets", None)
  write(tmp_path / "aime24.jsonl", [MATH])
  assert len(open_sets(["aime24"], tmp_path)[0].problems) == 1


DATES = ["2024-09-30T23:59:00", "2024-10-01T00:00:00", "2024-11-15", "2024-12-31T20:00:00", "2025-01-01T00:00:00"]


@pytest.mark.parametrize(
  ("first", "last", "kept"),
  [("2024-10-01", "2024-12-31", [1, 2, 3]), ("2024-12-31", None, [3, 4]), (None, "2024-10-01", [0, 1])],
)
def test_the_window_includes_both_its_days(tmp_path, first, last, kept):
  write(tmp_path / "lcb.jsonl", [contest(n, date) for n, date in enumerate(DATES)])
  window = Window(first and day(first), last and day(last))
  assert ids(["lcb"], tmp_path, window=window) == [[f"q{n}" for n in kept]]
  assert ids(["lcb"], tmp_path, window=window, limit=1) == [[f"q{kept[0]}"]]  # the limit counts the rows in the window


def test_dates_of_parquet_are_dates(tmp_path):
  rows = [contest(n, None, contest_date=datetime.datetime.fromisoformat(date)) for n, date in enumerate(DATES)]
  pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lcb.parquet")
  assert ids(["lcb"], tmp_path, window=Window(day("2025-01-01"), None)) == [["q4"]]


def test_sets_without_dates_are_taken_whole_beside_one_with(tmp_path):
  write(tmp_path / "aime24.jsonl", [MATH])
  write(tmp_path / "lcb.jsonl", [contest(n, date) for n, date in enumerate(DATES)])
  window = Window(day("2025-01-01"), None)
  sets = open_sets(["aime24", "lcb"], tmp_path, window=window)
  assert [(len(set_.problems), set_.window) for set_ in sets] == [(1, Window()), (1, window)]


def test_sets_that_a_window_cannot_be_applied_to_are_named(tmp_path):
  window = Window(day("2024-10-01"), None)
  write(tmp_path / "aime24.jsonl", [MATH])
  with pytest.raises(InputError, match="--from, --to: no set of aime24 has rows with a contest_date"):
    open_sets(["aime24"], tmp_path, window=window)
  for date, shown in ((None, "None"), ("last autumn", "'last autumn'"), (20241001, "20241001")):
    write(tmp_path / "lcb.jsonl", [contest(0, "2024-11-01"), contest(1, date)])
    with pytest.raises(InputError, match=rf"lcb\.jsonl:2: field contest_date: expected a date .* got {shown}"):
      open_sets(["lcb"], tmp_path, window=window)
  write(tmp_path / "lcb.jsonl", [contest(0, None)])  # rows of LiveCodeBench must have a date
  with pytest.raises(InputError, match=r"lcb\.jsonl:1: field contest_date"):
    open_sets(["lcb"], tmp_path, window=window)
  write(tmp_path / "lcb.jsonl", [contest(0, "2020-01-01")])
  with pytest.raises(InputError, match=r"lcb\.jsonl: --from, --to: no row has a contest_date in the window"):
    open_sets(["lcb"], tmp_path, window=window)


@pytest.mark.parametrize(
  ("specs", "message"),
  [
    (["aime25"], rf"--sets: aime25: expected one of {', '.join(NAMED)}, a file"),
    (["{}/none.jsonl"], r"none\.jsonl: no such file"),
    (["tests.helpers.label_plugins:none"], "has no none"),
    (["{}/empty.jsonl"], r"empty\.jsonl: expected at least one row"),
    (["{}/bad.jsonl"], r"bad\.jsonl:2: field answer"),
    (["{}/bad.jsonl", "{}/a/bad.jsonl"], r"bad\.jsonl"),
    (["{}/a"], "a cannot be loaded: EmptyDatasetError"),
  ],
)
def test_an_error_is_named(tmp_path, specs, message):
  (tmp_path / "a").mkdir()
  write(tmp_path / "empty.jsonl", [])
  write(tmp_path / "bad.jsonl", [MATH, {"problem": "?"}])
  with pytest.raises(InputError, match=message):
    open_sets([spec.format(tmp_path) for spec in specs], None)


def test_two_sets_of_one_name_are_refused(tmp_path):
  (tmp_path / "a").mkdir()
  files = [str(write(folder / "my.jsonl", [MATH])) for folder in (tmp_path, tmp_path / "a")]
  with pytest.raises(InputError, match="have one name, my, expected each name once"):
    open_sets(files, None)
