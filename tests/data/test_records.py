"""Records folders: rows come back unchanged without TensorFlow and through TFDS. Damage is reported, never read."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from srpo_jax.data.dataset import RecordProblems, column, load_problems, open_problems
from srpo_jax.data.record import features
from srpo_jax.data.records import Records
from srpo_jax.data.records_folder import INDEX
from srpo_jax.data.records_writer import write_records
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT

ROWS = [
  {"id": "a", "domain": "math", "question": "1 + 1?", "answer": "2", "pass_rate": 0.3, "difficulty": "medium"},
  {
    "id": "b",
    "domain": "math",
    "question": "π\u2028 ≥ \x00 \U0001f600 é",
    "answer": "\\frac{1}{3}",
    "pass_rate": 1 / 3,
  },
  {"id": "c", "domain": "math", "question": "?", "answer": "0", "pass_rate": 0.0, "source": "s", "licence": "MIT"},
  {
    "id": "d",
    "domain": "code",
    "question": "f",
    "tests": {"type": "function", "entry_point": "f", "cases": [{"args": ["\ud800", None], "expected": [1.5, {}]}]},
    "pass@1": 0.25,
    "kept": {"deep": [None, "é"]},
    "nothing": None,
    "extra": 1,
  },
  {"id": "e", "domain": "math", "question": "x" * 100_000, "answer": "7", "tests": None, "pass_rate": 1},
]
NATIVE = ("id", "domain", "question", "answer", "difficulty", "source", "licence", "tests", "pass_rate")


def write(folder: Path, rows=ROWS, **changes):
  return write_records(folder, rows, **({"name": "toy", "version": "1.0.0", "description": "a toy"} | changes))


def files(folder: Path) -> dict[str, bytes]:
  return {file.name: file.read_bytes() for file in folder.iterdir()}


def many(n: int):
  return ({"id": f"q{i}", "domain": "math", "question": f"{i}?", "answer": str(i)} for i in range(n))


@pytest.fixture
def folder(tmp_path) -> Path:
  write(tmp_path / "set")
  return tmp_path / "set"


def test_rows_come_back_as_they_were_written(folder):
  records = Records(folder)
  expected = [dict.fromkeys(NATIVE) | row for row in ROWS]
  assert len(records) == 5
  assert list(records) == expected
  assert [records[i] for i in (3, 0, -1, 1)] == [expected[i] for i in (3, 0, -1, 1)]
  assert records[1:4] == expected[1:4] and records[::-2] == expected[::-2] and records[7:] == []
  assert records[np.int64(2)] == expected[2]
  for outside in (5, -6):
    with pytest.raises(IndexError):
      records[outside]


def test_the_index_has_columns_without_reading_records(folder):
  records = Records(folder)
  assert records.column("id") == list("abcde")
  assert records.column("pass_rate") == [0.3, 1 / 3, 0.0, None, 1.0]
  assert records.column("difficulty") == ["medium", None, None, None, None]
  with pytest.raises(KeyError, match="question"):
    records.column("question")


def test_tfds_reads_it(folder):
  builder = tfds.builder_from_directory(folder)
  source = builder.as_data_source(split="train")
  assert (builder.name, str(builder.version), len(source)) == ("toy", "1.0.0", 5)
  assert source[3]["question"] == b"f" and source[3]["answer"] is None
  assert source[1]["question"].decode() == ROWS[1]["question"]
  assert source[2]["pass_rate"] == 0.0 and source[3]["pass_rate"] is None
  assert source[1]["pass_rate"] == np.float32(1 / 3)
  assert json.loads(source[3]["tests"]) == ROWS[3]["tests"]
  assert builder.info.splits["train"].shard_lengths == [5]


def test_the_records_equal_those_of_tfds_own_serializer(folder):
  builder = tfds.builder_from_directory(folder)
  raw = builder.as_data_source(split="train").data_source
  serializer = example_serializer.ExampleSerializer(features().get_serialized_info())
  for index in range(5):
    decoded = builder.info.features.deserialize_example_np(raw[index])
    assert serializer.get_tf_example(decoded).SerializeToString(deterministic=True) == raw[index]


def test_no_tensorflow(folder):
  code = (
    "import sys; from pathlib import Path; from srpo_jax.data.records import Records\n"
    "from srpo_jax.data.records_writer import write_records\n"
    "import tensorflow_datasets as tfds\n"
    "folder = Path(sys.argv[1]); rows = list(Records(folder))\n"
    "assert tfds.builder_from_directory(folder).as_data_source(split='train')[0]['id'] == b'a'\n"
    "write_records(folder.with_name('again'), rows, name='toy', version='1.0.0', description='')\n"
    "print(len(rows), 'tensorflow' in sys.modules, 'jetstream' in sys.modules)"
  )
  done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == ["5", "False", "False"]


def test_several_shards(tmp_path):
  rows = list(many(25))
  one = write(tmp_path / "one", rows)
  three = write(tmp_path / "three", rows, shard_rows=10)
  assert one == three and one.n == 25
  assert len(list((tmp_path / "three").glob("toy-train.array_record-*-of-00003"))) == 3
  records = Records(tmp_path / "three")
  assert [row["id"] for row in records] == [f"q{i}" for i in range(25)]
  assert [row["id"] for row in records[8:12]] == ["q8", "q9", "q10", "q11"]
  assert len(tfds.builder_from_directory(tmp_path / "three").as_data_source(split="train")) == 25


def test_the_same_rows_give_the_same_bytes(tmp_path):
  first, second = write(tmp_path / "x"), write(tmp_path / "elsewhere")
  assert first == second
  assert files(tmp_path / "x") == files(tmp_path / "elsewhere")
  other = write(tmp_path / "other", [*ROWS[:-1], ROWS[-1] | {"answer": "8"}])
  assert other.sha256 != first.sha256


def test_threads_and_pickles(tmp_path):
  write(tmp_path / "set", many(300), shard_rows=100)
  records = Records(tmp_path / "set")
  with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(lambda i: records[i * 7 % 300]["id"], range(600))) == [f"q{i * 7 % 300}" for i in range(600)]
  again = pickle.loads(pickle.dumps(records))
  assert again[123] == records[123] and len(pickle.dumps(records)) < 1000


def test_rows_are_read_one_by_one_from_an_iterator(tmp_path):
  """Checks that rows are not collected. At most three rows are alive at once."""
  alive, most, lock = [0], [0], threading.Lock()

  class Row(dict):
    def __init__(self, i):
      super().__init__(id=f"q{i}", domain="math", question="?", answer="1")
      with lock:
        alive[0] += 1
        most[0] = max(most[0], alive[0])

    def __del__(self):
      with lock:
        alive[0] -= 1

  write(tmp_path / "set", (Row(i) for i in range(500)))
  assert most[0] <= 3


@pytest.mark.parametrize("name", ["a b", "x[0:3]", "ünï", "100%", "a*?", "{SPLIT}"])
def test_names_of_folders(tmp_path, monkeypatch, name):
  write(tmp_path / name, many(3))
  assert len(list(Records(tmp_path / name))) == 3
  monkeypatch.chdir(tmp_path)
  assert Records(name)[2]["id"] == "q2"


@pytest.mark.parametrize(
  "row, message",
  [
    ({"id": "a", "domain": "math", "question": "?", "answer": "1"}, r"row 1: field id: 'a' is already the id of row 0"),
    ({"id": " a ", "domain": "math", "question": "?", "answer": "1"}, r"row 1: field id: 'a' is already"),
    ({"id": "b", "domain": "math", "question": "?"}, r"row 1: field answer is missing"),
    ({"id": "b", "domain": "math", "question": "\ud800", "answer": "1"}, r"row 1: field question: .*surrogate"),
    ({"id": "b", "domain": "code", "question": "?", "tests": {"type": "x"}}, r"row 1: field tests.type"),
    ({"id": "b", "domain": "math", "question": "?", "answer": "1", "odd": {1, 2}}, r"row 1: field odd: .*JSON"),
    ({"id": "b", "domain": "math", "question": "?", "answer": "1", 5: 1}, r"row 1: field 5: expected a name"),
    ({"id": "b", "domain": "math", "question": "?", "answer": "1", "licence": 3}, r"row 1: field licence"),
    ({"id": "b", "domain": "math", "question": "?", "answer": "1", "pass_rate": 2}, r"row 1: field pass_rate"),
    ("text", r"row 1: expected an object"),
  ],
)
def test_a_bad_row_is_named_and_nothing_is_left(tmp_path, row, message):
  target = tmp_path / "set"
  with pytest.raises(InputError, match=f"{target}: {message}"):
    write(target, [{"id": "a", "domain": "math", "question": "?", "answer": "1"}, row])
  assert list(tmp_path.iterdir()) == []


def test_a_row_without_an_id_gets_one(tmp_path):
  write(tmp_path / "set", [{"domain": "math", "question": "?", "answer": 27.0}, {**ROWS[0], "id": 12}])
  records = Records(tmp_path / "set")
  assert [row["id"] for row in records] == ["toy-000000", "12"]
  assert records[0]["answer"] == "27"


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"rows": []}, "at least one row"),
    ({"name": "Toy-set"}, "data set name"),
    ({"version": "1.0"}, "three numbers"),
    ({"version": "01.0.0"}, "three numbers"),
    ({"shard_rows": 0}, "shard_rows"),
  ],
)
def test_bad_arguments(tmp_path, changes, message):
  with pytest.raises(InputError, match=message):
    write(tmp_path / "set", **changes)
  assert list(tmp_path.iterdir()) == []


def test_our_folder_is_replaced_and_any_other_is_refused(tmp_path):
  target = tmp_path / "set"
  target.mkdir()
  write(target)  # the folder is empty
  write(target, many(3))
  assert len(Records(target)) == 3
  assert [file.name for file in tmp_path.iterdir()] == ["set"]
  with pytest.raises(InputError, match="row 3"):
    write(target, [*many(3), {}])
  assert len(Records(target)) == 3  # unchanged
  mine = tmp_path / "mine"
  mine.mkdir()
  (mine / "notes.txt").write_text("keep")
  asked = []
  with pytest.raises(InputError, match=f"{mine}: not empty"):
    write(mine, (asked.append(i) or row for i, row in enumerate(many(3))))
  assert files(mine) == {"notes.txt": b"keep"} and not asked
  (tmp_path / "file").write_text("keep")
  for place, message in ((tmp_path / "file", "expected a folder"), (tmp_path / "no" / "set", "existing folder")):
    with pytest.raises(InputError, match=message):
      write(place)
  assert (tmp_path / "file").read_text() == "keep"


def test_a_kill_leaves_no_folder(tmp_path):
  code = (
    "import os, sys, signal; from pathlib import Path; from srpo_jax.data.records_writer import write_records\n"
    "def rows():\n"
    "  for i in range(5000):\n"
    "    if i == 4000: os.kill(os.getpid(), signal.SIGKILL)\n"
    "    yield {'id': str(i), 'domain': 'math', 'question': '?', 'answer': '1'}\n"
    "write_records(Path(sys.argv[1]), rows(), name='toy', version='1.0.0', description='', shard_rows=1000)"
  )
  done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "set")], cwd=ROOT)
  assert done.returncode == -signal.SIGKILL
  assert not (tmp_path / "set").exists()
  write(tmp_path / "set")
  assert len(Records(tmp_path / "set")) == 5


def test_a_full_disk_is_reported(tmp_path):
  code = (
    "import os, sys, signal, resource; from pathlib import Path\n"
    "from srpo_jax.data.records_writer import write_records\n"
    "from srpo_jax.utils.errors import run_cli\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    "rows = ({'id': str(i), 'domain': 'math', 'question': os.urandom(99).hex(), 'answer': '1'} for i in range(9999))\n"
    "run_cli(lambda _: write_records(Path(sys.argv[1]), rows, name='a', version='1.0.0', description=''))"
  )
  done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "set")], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2, done.stderr
  assert "cannot be written" in done.stderr and len(done.stderr.splitlines()) == 1
  assert list(tmp_path.iterdir()) == []


def cut(file: Path) -> None:
  with file.open("r+b") as stream:
    stream.truncate(file.stat().st_size // 2)


def spoil(file: Path) -> None:
  """Flips one bit in every 97th byte, starting at byte 64."""
  data = bytearray(file.read_bytes())
  for at in range(64, len(data), 97):
    data[at] ^= 0x10
  file.write_bytes(data)


@pytest.mark.parametrize(
  "name, damage, message",
  [
    ("toy-train.array_record-00000-of-00001", cut, "has .* bytes, expected"),
    ("toy-train.array_record-00000-of-00001", Path.unlink, "has 0 bytes, expected"),
    ("toy-train.array_record-00000-of-00001", spoil, "damaged"),
    ("dataset_info.json", Path.unlink, "no dataset_info.json"),
    ("dataset_info.json", cut, "TFDS"),
    ("dataset_info.json", lambda f: f.write_text("{}"), "TFDS"),
    ("features.json", Path.unlink, "no features.json"),
    ("features.json", cut, "TFDS"),
    ("metadata.json", Path.unlink, "no metadata.json"),
    ("metadata.json", cut, "not JSON"),
    ("metadata.json", lambda f: f.write_text("{}"), "expected int in a data set written by srpo_jax"),
    ("metadata.json", lambda f: f.write_text(f.read_text().replace('"n": 300', '"n": 301')), "expected 301"),
    (INDEX, Path.unlink, "no index.parquet"),
    (INDEX, cut, "index.parquet"),
  ],
)
def test_a_damaged_folder_is_named(tmp_path, name, damage, message):
  folder = tmp_path / "set"
  write(folder, many(300))
  damage(folder / name)
  with pytest.raises(InputError, match=f"{folder}[:/].*{message}") as caught:
    list(Records(folder))
  assert "\n" not in str(caught.value)


def test_an_index_of_other_rows_is_refused(tmp_path):
  write(tmp_path / "five")
  write(tmp_path / "three", many(3))
  shutil.copy(tmp_path / "three" / INDEX, tmp_path / "five" / INDEX)
  with pytest.raises(InputError, match="has 3 rows, expected 5"):
    Records(tmp_path / "five")


def test_a_tfds_folder_of_another_program_is_refused(tmp_path, folder):
  for file in ("metadata.json", INDEX):
    (folder / file).unlink()
  tfds.builder_from_directory(folder)
  with pytest.raises(InputError, match=str(folder)):
    Records(folder)
  with pytest.raises(InputError, match="not empty"):
    write(folder)
  with pytest.raises(InputError, match="no such folder"):
    Records(tmp_path / "nowhere")


def test_problems_of_a_folder_are_lazy_and_equal_the_problems_of_a_file(tmp_path):
  file = tmp_path / "set.jsonl"
  file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
  write(tmp_path / "set")
  loaded, lazy = open_problems(str(file)), open_problems(str(tmp_path / "set"))
  assert isinstance(loaded, tuple) and isinstance(lazy, RecordProblems)
  assert tuple(lazy) == loaded == load_problems(str(tmp_path / "set"))
  assert lazy[3] == loaded[3] and lazy[-1] == loaded[-1] and lazy[1:3] == loaded[1:3]
  for field in ("id", "domain", "difficulty", "pass_rate"):
    assert column(lazy, field) == column(loaded, field)
  two = open_problems(str(tmp_path / "set"), limit=2)
  assert len(two) == 2 and tuple(two) == loaded[:2] and column(two, "id") == ["a", "b"]
  with pytest.raises(IndexError):
    two[2]
  assert len(open_problems(str(tmp_path / "set"), limit=99)) == 5


def test_only_the_record_that_is_asked_for_is_read(tmp_path):
  write(tmp_path / "set", many(300), shard_rows=100)
  problems = open_problems(str(tmp_path / "set"))
  spoil(tmp_path / "set" / "toy-train.array_record-00002-of-00003")
  assert problems[150].id == "q150"
  with pytest.raises(InputError, match="damaged"):
    problems[250]


@pytest.mark.parametrize(
  "arguments, message",
  [({"format": "gsm8k"}, "native"), ({"kwargs": {"a": 1}}, "data kwargs"), ({"limit": -1}, "limit -1")],
)
def test_arguments_that_do_not_fit_a_folder(folder, arguments, message):
  with pytest.raises(InputError, match=message):
    open_problems(str(folder), **arguments)


def test_a_folder_that_is_no_data_set(tmp_path):
  with pytest.raises(InputError, match=r"dataset_info\.json"):
    open_problems(str(tmp_path))


def test_the_benchmark_reads_what_it_wrote():
  command = [sys.executable, "benchmarks/records.py", "--rows", "2500"]
  done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  found = json.loads(done.stdout)
  assert found["rows"] == found["read_rows"] == 2500 and found["bytes"] > 2500
