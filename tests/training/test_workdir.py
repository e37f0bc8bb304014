"""After a rewind each step appears exactly once in every file, TensorBoard's included."""

import json
import struct

import pyarrow as pa
import pytest
from tensorboardX.proto.event_pb2 import Event

from srpo_jax.algorithm.history import Outcome, Pool
from srpo_jax.training.workdir import Workdir, open_parquet, read_rows
from srpo_jax.utils.errors import InputError
from tests.helpers.workdirs import fill


def events(path):
  """Returns (step, reward/mean) of all event files.

  A record is the length of the event (8 bytes), a checksum of the length (4), the event, and its checksum (4).
  """
  found = []
  for file in (path / "tb").iterdir():
    data, at = file.read_bytes(), 0
    while at < len(data):
      (size,) = struct.unpack_from("<Q", data, at)
      event = Event.FromString(data[at + 12 : at + 12 + size])
      found += [(event.step, round(v.simple_value, 3)) for v in event.summary.value if v.tag == "reward/mean"]
      at += size + 16
  return found


def test_rewind(tmp_path):
  files = Workdir(tmp_path)
  files.rewind(0, {})
  fill(files, range(5))
  for step in (0, 3, 4):
    files.write_eval({"step": step})
    files.write_heldout(step, "set", [{"prompt_id": "a", "response": "b"}])
  for epoch in (0, 1):
    pool = Pool("math", ("a", "b"), epoch, 2, {"a": Outcome(4, 4), "b": Outcome(4, 1)})
    files.write_history(pool, ["b"], {"a": 3, "b": 7}.__getitem__)
  (tmp_path / "rollouts/step_000001.partial").write_text("cut by a kill")
  files.close()

  files = Workdir(tmp_path)
  files.rewind(3, {"math": 1})
  assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [0, 1, 2]
  assert [row["step"] for row in read_rows(tmp_path / "eval.jsonl")] == [0, 3]
  assert sorted(f.name for f in tmp_path.glob("rollouts/*")) == [f"step_{s:06d}.parquet" for s in range(3)]
  assert sorted(f.name for f in tmp_path.glob("heldout/set/*")) == ["step_000000.parquet", "step_000003.parquet"]
  assert [f.name for f in tmp_path.glob("history/math/*")] == ["epoch_000.parquet"]
  fill(files, range(3, 6))
  files.close()
  assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == list(range(6))
  assert events(tmp_path) == [(s, s / 10) for s in range(6)]


def test_a_cut_last_line_is_left_out_and_a_broken_one_before_it_is_named(tmp_path):
  file = tmp_path / "m.jsonl"
  file.write_text('{"step": 0}\n{"ste')
  assert read_rows(file) == [{"step": 0}]
  file.write_text('{"step": 0}\nbroken\n' + json.dumps({"step": 2}) + "\n")
  with pytest.raises(InputError, match=r"m\.jsonl:2"):
    read_rows(file)
  assert read_rows(tmp_path / "none.jsonl") == []


def test_local_parquet_files_are_read_without_python_streams(tmp_path):
  (tmp_path / "a.parquet").write_bytes(b"whole")
  # With a Python stream, a reading thread may abort the process at exit.
  with open_parquet(tmp_path / "a.parquet") as stream:
    assert isinstance(stream, pa.OSFile) and stream.read() == b"whole"
  with pytest.raises(FileNotFoundError):
    open_parquet(tmp_path / "none.parquet")
