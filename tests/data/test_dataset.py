"""Loading of files and callables as checked problems. Errors name the file and the line or row."""

import gzip
import itertools
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srpo_jax.data.dataset import load_problems, open_rows
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

DATA = Path(os.environ.get("SRPO_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA} (set SRPO_DATA)")

ROWS = [{"id": f"p{i}", "domain": "math", "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(5)]


def write(path, rows):
  path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
  return str(path)


def refused(message, *args, **kwargs):
  with pytest.raises(InputError) as caught:
    load_problems(*args, **kwargs)
  assert message in str(caught.value)
  assert "\n" not in str(caught.value)


def test_json_lines_and_parquet_give_the_same_problems(tmp_path):
  expected = tuple(Problem(**row) for row in ROWS)
  pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
  assert load_problems(write(tmp_path / "a.jsonl", ROWS)) == expected
  assert load_problems(write(tmp_path / "a.json-lines", ROWS)) == expected
  assert load_problems(str(tmp_path / "a.parquet")) == expected
  assert load_problems(write(tmp_path / "lines.json", ROWS)) == expected
  (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf \n" + json.dumps(ROWS, indent=1).encode())
  assert load_problems(str(tmp_path / "a.json")) == expected
  for name in ("a.jsonl", "a.json"):
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert load_problems(str(tmp_path / f"{name}.gz")) == expected


def test_a_bad_array_or_archive_is_named(tmp_path):
  path = tmp_path / "a.json"
  path.write_text(json.dumps([ROWS[0], 5]))
  refused(f"{path}: row 1: expected an object with named fields, got int", str(path))
  path.write_text(json.dumps(ROWS)[:-1])
  refused(f"{path}: of one array of rows: expected", str(path))
  packed = tmp_path / "b.jsonl.gz"
  packed.write_bytes(gzip.compress(json.dumps(ROWS[0]).encode())[:-9])
  refused(f"{packed}: cannot be read: ", str(packed))
  packed.write_bytes(b"no archive")
  refused(f"{packed}: cannot be read: Not a gzipped file", str(packed))


def test_rows_without_an_id_get_stem_and_index(tmp_path):
  rows = ["", {"question": "a", "answer": "#### 1"}, "  ", {"question": "b", "answer": "#### 2"}]
  assert [p.id for p in load_problems(write(tmp_path / "train.jsonl", rows))] == ["train-000000", "train-000001"]
  packed = tmp_path / "train.jsonl.gz"
  packed.write_bytes(gzip.compress((tmp_path / "train.jsonl").read_bytes()))
  assert load_problems(str(packed))[0].id == "train-000000"


def test_limit_reads_the_first_rows_and_nothing_after_them(tmp_path):
  path = write(tmp_path / "a.jsonl", [*ROWS, "not json"])
  assert [p.id for p in load_problems(path, limit=2)] == ["p0", "p1"]
  assert len(load_problems(path, limit=5)) == 5
  refused("a.jsonl:6: expected one JSON object", path, limit=6)
  refused("a.jsonl:6: expected one JSON object", path)
  refused("data limit -1: expected 0", path, limit=-1)


def test_limit_of_a_parquet_file_spans_batches(tmp_path):
  rows = [{"question": f"q{i}", "answer": f"#### {i}"} for i in range(2500)]
  pq.write_table(pa.Table.from_pylist(rows), tmp_path / "big.parquet")
  problems = load_problems(str(tmp_path / "big.parquet"), limit=1500)
  assert [p.id for p in problems[1023:1026]] == ["big-001023", "big-001024", "big-001025"]
  assert problems[-1].answer == "1499" and len(problems) == 1500


@pytest.mark.parametrize("broken", [0, 1, 30])
def test_a_broken_row_of_gsm8k_is_named(tmp_path, broken):
  rows = [{"question": f"q{i}", "answer": f"so\n#### {i}"} for i in range(40)]
  rows[broken] |= {"answer": "so 7"}
  path = write(tmp_path / "a.jsonl", rows)
  refused(f"{path}:{broken + 1}: field answer: expected GSM8K's '#### n'", path)


def test_rows_of_a_question_and_an_answer_are_math(tmp_path):
  rows = [{"question": f"q{i}", "answer": f"{i}", "note": "mine"} for i in range(40)]
  path = write(tmp_path / "a.jsonl", rows)
  problems, kept = open_rows(path)
  assert {problem.domain for problem in problems} == {"math"}
  assert [problem.answer for problem in problems] == [str(i) for i in range(40)]
  assert kept[7] == {"id": "a-000007", "domain": "math", "question": "q7", "answer": "7", "note": "mine"}
  rows[30] |= {"answer": "so\n#### 30"}
  refused("a.jsonl:31: field answer: expected an answer only", write(tmp_path / "a.jsonl", rows))


def test_the_first_row_decides_the_format_for_all(tmp_path):
  rows = [{"question": "a", "answer": "#### 1"}, {"problem": "b", "answer": "2"}]
  refused("a.jsonl:2: field answer: expected GSM8K's '#### n'", write(tmp_path / "a.jsonl", rows))


def test_a_named_format_overrides_detection(tmp_path):
  path = write(tmp_path / "a.jsonl", [{"question": "a", "answer": "2", "problem": "b"}])
  assert load_problems(path, format="math")[0].question == "b"
  refused("data format 'mathh': expected one of auto, native, plain, gsm8k, math", path, format="mathh")


@pytest.mark.parametrize(
  ("bad", "message"),
  [
    ("{", "expected one JSON object, but"),
    ("[1]", "expected an object with named fields, got list"),
    ("null", "expected an object with named fields, got NoneType"),
    ("[" * 100_000, "expected one JSON object of ordinary size"),
    ('{"id": ' + "9" * 5000 + "}", "expected one JSON object of ordinary size"),
    (ROWS[1] | {"answer": None}, "field answer is missing"),
    (ROWS[0], "field id: 'p0' is already the id of"),
  ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path, bad, message):
  path = write(tmp_path / "a.jsonl", [ROWS[0], "", bad])
  refused(f"{path}:3: {message}", path)


def test_ids_of_both_kinds_must_differ(tmp_path):
  rows = [ROWS[0] | {"id": "a-000001"}, {k: v for k, v in ROWS[1].items() if k != "id"}]
  path = write(tmp_path / "a.jsonl", rows)
  refused(f"{path}:2: field id: 'a-000001' is already the id of {path}:1", path)


def test_other_encodings_are_named_and_a_byte_order_mark_is_skipped(tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_bytes(json.dumps(ROWS[0]).encode() + b'\n{"question": "caf\xe9"}\n')
  refused(f"{path}:2: expected UTF-8, got the byte 0xe9", str(path))
  path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode())
  assert load_problems(str(path))[0].id == "p0"


def test_a_bad_parquet_file_or_row_is_named(tmp_path):
  path = tmp_path / "a.parquet"
  path.write_bytes(b"PAR1 nothing")
  refused(f"{path}: expected a parquet file", str(path))
  pq.write_table(pa.Table.from_pylist([ROWS[0], ROWS[1] | {"question": " "}]), path)
  refused(f"{path}: row 1: field question is empty", str(path))


def test_files_that_cannot_be_read(tmp_path):
  refused("nowhere.jsonl: no such file", str(tmp_path / "nowhere.jsonl"))
  refused("expected a file ending in .jsonl, .json-lines, .json, .jsonl.gz", str(tmp_path / "a.csv"))
  (tmp_path / "dir.jsonl").mkdir()
  refused("dir.jsonl: no such file", str(tmp_path / "dir.jsonl"))
  refused("expected at least one row", write(tmp_path / "empty.jsonl", []))
  refused("data kwargs (n) are for a module:function only", write(tmp_path / "a.jsonl", ROWS), kwargs={"n": 1})


def own_rows(n: int = 3):
  return ({"domain": "math", "question": f"q{i}", "answer": i} for i in range(n))


def own_problems():
  return [Problem(id="x", domain="math", question="Q", answer="1", source="own")]


def own_endless():
  return ({"domain": "math", "question": f"q{i}", "answer": i} for i in itertools.count())


def own_unchecked():
  return [Problem(id="x", domain="math", question="Q", answer=None)]


def own_gsm8k():
  return [{"question": "Q", "answer": "#### 3"}]


def own_nothing():
  return None


def test_a_users_callable_gives_rows_or_problems():
  problems = load_problems(f"{__name__}:own_rows", kwargs={"n": 2})
  assert [(p.id, p.answer) for p in problems] == [("own_rows-000000", "0"), ("own_rows-000001", "1")]
  assert load_problems(f"{__name__}:own_problems") == tuple(own_problems())
  assert len(load_problems(f"{__name__}:own_endless", limit=4)) == 4
  assert load_problems(f"{__name__}:own_gsm8k", format="gsm8k")[0].answer == "3"


def test_a_users_callable_is_checked():
  refused("own_unchecked: row 0: field answer is missing", f"{__name__}:own_unchecked")
  refused("own_gsm8k: row 0: field domain is missing", f"{__name__}:own_gsm8k")
  refused("own_nothing: expected an iterable of rows, got NoneType", f"{__name__}:own_nothing")
  refused("do not fit data kwargs: got an unexpected keyword argument 'm'", f"{__name__}:own_rows", kwargs={"m": 1})
  refused("has no own_typo", f"{__name__}:own_typo")


@needs_data
@pytest.mark.parametrize(
  ("name", "count", "answers"),
  [
    ("gsm8k_train", 7473, {0: "72", 1: "10"}),
    ("gsm8k_test", 1319, {0: "18", 1: "3"}),
    ("math500", 500, {0: "4", 2: "\\frac{11}{2}"}),
    ("aime24", 30, {0: "204", 7: "025"}),
    ("amc23", 40, {0: "27", 3: "3159", 15: "-1"}),
  ],
)
def test_real_files_load_whole(name, count, answers):
  problems = load_problems(str(DATA / f"{name}.jsonl"))
  assert len(problems) == count
  assert {i: problems[i].answer for i in answers} == answers
  assert not [p.answer for p in problems if name.startswith("gsm8k") and not p.answer.lstrip("-").isdigit()]


@needs_data
def test_math500_keeps_level_type_and_id():
  problems = load_problems(str(DATA / "math500.jsonl"))
  assert problems[0].id == "test/algebra/4.json" and problems[0].source == "math/Algebra"
  assert Counter(p.difficulty for p in problems)["Level 5"] == 134


def test_rows_keep_the_fields_that_no_problem_has(tmp_path):
  file = tmp_path / "rows.jsonl"
  file.write_text('{"domain": "math", "question": " 1 + 1? ", "answer": 2.0, "note": {"a": [null]}, "source": null}\n')
  problems, rows = open_rows(str(file))
  assert problems == load_problems(str(file))
  assert rows == [
    {
      "id": "rows-000000",
      "domain": "math",
      "question": "1 + 1?",
      "answer": "2",
      "note": {"a": [None]},
      "source": None,
    }
  ]


def test_rows_of_another_format_become_native(tmp_path):
  file = tmp_path / "g.jsonl"
  file.write_text('{"question": "1 + 1?", "answer": "It is #### 2", "note": 1}\n')
  _, rows = open_rows(str(file))
  assert rows == [{"id": "g-000000", "domain": "math", "question": "1 + 1?", "answer": "2", "source": "gsm8k"}]


_calls = []


def drawn():
  _calls.append(1)
  yield from ({"domain": "math", "question": "?", "answer": str(len(_calls))} for _ in range(2))


def test_rows_and_problems_of_a_callable_are_of_one_call():
  problems, rows = open_rows("tests.data.test_dataset:drawn", limit=1)
  assert len(problems) == len(rows) == len(_calls) == 1 and problems[0].answer == rows[0]["answer"] == "1"
