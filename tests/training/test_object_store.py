"""Runs with a workdir on gs://, against a fake object store (tests/helpers/fake_gcs.py).

gcsfs and TensorStore talk to it over HTTP as they would to Google Cloud Storage. Credentials, quotas and retries of a
real bucket are not covered.
"""

import json
from pathlib import Path

import pytest

from srpo_jax import export
from srpo_jax.model import hf
from srpo_jax.model.folder import model_folder
from srpo_jax.training.run import Run
from srpo_jax.training.workdir import Workdir, read_rows
from srpo_jax.utils.errors import InputError, TrainingError
from srpo_jax.utils.paths import as_path, local_copy
from tests.helpers.fake_hub import folder_files
from tests.helpers.runs import assert_same_run, launch, toy
from tests.helpers.workdirs import fill


def download(store, prefix: str, folder: Path) -> Path:
  """Copies the objects under PREFIX/ to a local folder and returns it."""
  for name in store.names(f"{prefix}/"):
    file = folder / name.removeprefix(f"{prefix}/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(store.read(name))
  return folder


@pytest.mark.slow
def test_a_run_on_gs_equals_a_local_one(store, talkative, tmp_path):
  """Two steps and, after a restart, two more give every file and every weight of four local steps."""
  rows = [{"id": f"q{i}", "domain": "math", "question": f"What is {i}?", "answer": str(i)} for i in range(7)]
  as_path("gs://bucket/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  config = {"log__tensorboard": True, "checkpoint__every": 2, "data__train": "gs://bucket/train.jsonl"}
  local = launch(toy(talkative, **config), tmp_path / "local")
  launch(toy(talkative, **config, train__steps=2), "gs://bucket/run")
  launch(toy(talkative, **config), "gs://bucket/run")
  got = download(store, "bucket/run", tmp_path / "got")
  assert_same_run(local, got)
  assert {f.name for f in got.iterdir()} == {f.name for f in local.iterdir()} - {".lock"} | {".owner"}
  assert [f.stat().st_size for f in (got / "tb").iterdir()] == [f.stat().st_size for f in (local / "tb").iterdir()]
  assert not [name for name in store.names() if "partial" in name]
  # Stage 2 and an export read the run's files from gs://.
  stage2 = toy(talkative, **config | {"init_from": "gs://bucket/run", "train__steps": 5, "model__path": ""})
  launch(stage2, "gs://bucket/stage2")
  assert read_rows(as_path("gs://bucket/stage2/metrics.jsonl"))[0]["step"] == 4
  export.main(["--workdir", "gs://bucket/run", "--out", str(tmp_path / "there")])
  export.main(["--workdir", str(local), "--out", str(tmp_path / "here")])
  here, there = (folder / hf.SINGLE_FILE for folder in (tmp_path / "here", tmp_path / "there"))
  assert here.read_bytes() == there.read_bytes()


def test_rewind_and_the_last_process_to_open_it_owns_it(store):
  first = Workdir("gs://bucket/w")
  first.rewind(0, {})
  fill(first, range(4))
  first.write_eval({"step": 3})
  second = Workdir("gs://bucket/w", tensorboard=False)
  second.rewind(2, {})
  assert [row["step"] for row in read_rows(second.path / "metrics.jsonl")] == [0, 1]
  assert not read_rows(second.path / "eval.jsonl")
  names = store.names("bucket/w/")
  kept = [f"rollouts/step_{step:06d}.parquet" for step in (0, 1)]
  assert names == [f"bucket/w/{name}" for name in (".owner", "eval.jsonl", "metrics.jsonl", *kept)]
  objects = {name: store.read(name) for name in names}
  for write in (
    lambda: first.write_metrics({"step": 4}),
    lambda: first.write_eval({"step": 4}),
    lambda: first.write_rollouts(4, []),
  ):
    with pytest.raises(TrainingError, match="another process has taken over"):
      write()
  assert {name: store.read(name) for name in store.names("bucket/w/")} == objects
  second.write_metrics({"step": 2})
  assert [row["step"] for row in read_rows(second.path / "metrics.jsonl")] == [0, 1, 2]


def test_a_folder_of_someone_else_is_refused(store, talkative):
  as_path("gs://bucket/mine/notes.txt").write_text("x")
  with pytest.raises(InputError, match="not the workdir of a run"):
    Run(toy(talkative), "gs://bucket/mine")
  assert store.names("bucket/mine/") == ["bucket/mine/notes.txt"]


def test_a_bucket_that_cannot_be_written_is_refused_first(store, talkative):
  with pytest.raises(InputError, match=r"gs://other/run: cannot be written: .*expected a bucket"):
    Run(toy(talkative, data__train="/no/such/file.jsonl"), "gs://other/run")
  with pytest.raises(InputError, match=r"/no/such/file\.jsonl"):
    Run(toy(talkative, data__train="/no/such/file.jsonl"), "gs://bucket/run3")
  assert store.names("bucket/run3/") == []


def test_data_on_gs_is_copied(store):
  as_path("gs://bucket/data/a/rows.jsonl").write_text(json.dumps({"x": 1}) + "\n")
  as_path("gs://bucket/data/b.txt").write_text("y")
  copied = local_copy("gs://bucket/data")
  assert (copied / "a/rows.jsonl").read_text() == '{"x": 1}\n' and (copied / "b.txt").read_text() == "y"
  with pytest.raises(InputError, match=r"gs://bucket/none\.jsonl: no such file"):
    local_copy("gs://bucket/none.jsonl")
  for path in ("s3://bucket/x", "gs://", "gs:///"):
    with pytest.raises(InputError, match="gs://BUCKET/FOLDER"):
      as_path(path)


def test_a_model_on_gs_is_copied_without_its_other_files(store, talkative):
  template = "additional_chat_templates/rag.jinja"
  files = folder_files(talkative) | {template: b"rag"}
  for name, data in (files | {"pytorch_model.bin": b"x", "own.py": b"x", "checkpoints/1/config.json": b"x"}).items():
    as_path(f"gs://bucket/model/{name}").write_bytes(data)
  assert folder_files(model_folder("gs://bucket/model")) == files
  config = toy("gs://bucket/model", train__steps=1)
  for _ in range(2):  # the second start compares the files with those that the workdir keeps
    with Run(config, "gs://bucket/w2") as run:
      assert run.config.model.revision == ""
  assert store.read(f"bucket/w2/model/{template}") == b"rag"
  with pytest.raises(InputError, match=r"gs://bucket/none: no such file or folder"):
    Run(toy("gs://bucket/none"), "gs://bucket/w3")
