"""Tests labels against the log of verdicts, also after kills and on several hosts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from srpo_jax.data.dataset import load_problems
from srpo_jax.data.labelling.label import main
from srpo_jax.data.labelling.parts import Tally, is_parts
from srpo_jax.data.labelling.writing import labelled
from srpo_jax.data.records import Records
from srpo_jax.data.records_writer import write_records
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.resumable import claim, read_settings
from tests.helpers.checkpoints import make_talkative
from tests.helpers.label_plugins import rows
from tests.helpers.paths import ROOT

SAMPLES = 5
ROWS = [{"id": p.id, "domain": p.domain, "question": p.question, "answer": p.answer, "more": [p.id]} for p in rows()]


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory) -> Path:
  return make_talkative(checkpoint, tmp_path_factory.mktemp("talkative") / "model")


def arguments(model, source, output, *more, reward="tests.helpers.label_plugins:logged") -> list[str]:
  return [
    f"--model={model}",
    f"--input={source}",
    f"--out={output}",
    f"--samples={SAMPLES}",
    "--config=configs/tiny.py",
    "--max-new-tokens=12",
    "--batch-rows=2",
    "--config.rollout.backend=inprocess",
    "--config.rollout.slots=8",
    f"--config.reward.function={reward}",
    "--config.reward.workers=1",
    "--config.log.progress=False",
    *more,
  ]


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
  monkeypatch.setenv("SRPO_TEST_LOG", str(tmp_path / "log.jsonl"))
  monkeypatch.chdir(ROOT)
  return tmp_path / "log.jsonl"


@pytest.fixture
def source(tmp_path) -> Path:
  file = tmp_path / "rows.jsonl"
  write_rows(file, ROWS)
  return file


def write_rows(file: Path, rows) -> None:
  file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(file: Path):
  return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
  """File of labelled rows and verdicts by row id, of one uninterrupted run."""
  folder = tmp_path_factory.mktemp("whole")
  write_rows(folder / "rows.jsonl", ROWS)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("SRPO_TEST_LOG", str(folder / "log.jsonl"))
    patch.chdir(ROOT)
    main(arguments(model, folder / "rows.jsonl", folder / "out.jsonl"))
  verdicts: dict[str, dict[str, tuple]] = {}
  for id_, _, response, ended, correct in read(folder / "log.jsonl"):
    row, _, sample = id_.rpartition("/")
    verdicts.setdefault(row, {})[sample] = response, ended, correct
  return folder / "out.jsonl", verdicts


def test_labels_agree_with_the_verdicts(whole):
  output, verdicts = whole
  found = read(output)
  assert [row["id"] for row in found] == [row["id"] for row in ROWS]
  assert {row: len(of_row) for row, of_row in verdicts.items()} == {row["id"]: SAMPLES for row in ROWS}
  labels, unjudged = set(), 0
  for before, after in zip(ROWS, found, strict=True):
    assert before.items() <= after.items()
    seen = list(verdicts[after["id"]].values())
    judged = [correct for _, _, correct in seen if correct is not None]
    rate = sum(judged) / len(judged)
    assert after["rollouts"] == {
      "n": len(judged),
      "n_correct": sum(judged),
      "n_truncated": sum(not ended for _, ended, _ in seen),
      "n_unjudged": SAMPLES - len(judged),
    }
    assert after["pass_rate"] == after["pass@1"] == rate
    assert after["pass@16"] is None
    bounds = [(0, "unsolved"), (0.25, "hard"), (0.75, "medium"), (0.999, "easy"), (1, "solved")]
    assert after["difficulty"] == next(name for bound, name in bounds if rate <= bound)
    labels.add(after["difficulty"])
    unjudged += after["rollouts"]["n_unjudged"]
  assert len(labels) >= 3 and unjudged  # the toy model gives several labels, and some responses without a verdict
  responses = [response for of_row in verdicts.values() for response, _, _ in of_row.values()]
  assert len(set(responses)) > len(responses) / 2  # samples of a row differ


def test_pass_at_k_matches_hand_calculation():
  row = labelled({"id": "a", "difficulty": "Level 5"}, Tally(n=16, n_correct=2, n_truncated=3, n_unjudged=1))
  assert row == {
    "id": "a",
    "original_difficulty": "Level 5",
    "difficulty": "hard",
    "pass_rate": 0.125,
    "pass@1": 0.125,
    "pass@4": 0.45,  # 1 - C(14, 4) / C(16, 4) = 1 - 1001 / 1820
    "pass@16": 1.0,
    "rollouts": {"n": 16, "n_correct": 2, "n_truncated": 3, "n_unjudged": 1},
  }
  again = labelled(row, Tally(4, 4, 0, 0))  # a second labelling, by a later model
  assert (again["original_difficulty"], again["difficulty"], again["pass_rate"]) == ("Level 5", "solved", 1.0)
  assert again["pass@4"] == 1.0 and again["pass@16"] is None
  none = labelled({"id": "a"}, Tally())
  assert none["difficulty"] is None and none["pass_rate"] is None and "original_difficulty" not in none


@pytest.mark.slow
def test_a_killed_labelling_resumes_to_the_same_bytes(model, whole, source, log, tmp_path):
  """Kills a labelling in the third of five batches and again in the fourth, then resumes it."""
  output = tmp_path / "out.jsonl"
  command = [sys.executable, "-m", "srpo_jax.data.labelling.label", *arguments(model, source, output)]
  for kill_at, finished in ((2 * SAMPLES * 2 + 3, 2), (SAMPLES * 2 + 1, 3)):
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": str(kill_at)})
    assert killed.returncode == -signal.SIGKILL and not output.exists()
    (part,) = (tmp_path / "out.jsonl.parts").glob("*.jsonl")
    assert [row["batch"] for row in read(part)] == list(range(finished))
  with part.open("a") as stream:
    stream.write('{"batch": 3, "rows": [[5')  # simulates a line cut short by a kill
  log.unlink()
  main(arguments(model, source, output))
  assert output.read_bytes() == whole[0].read_bytes()
  assert {id_.split("/")[0] for id_, *_ in read(log)} == {"q6", "q7", "q8"}  # finished batches are not repeated
  log.unlink()
  output.unlink()
  main(arguments(model, source, output))  # the parts are complete, so nothing is sampled
  assert output.read_bytes() == whole[0].read_bytes() and not log.exists()


def test_two_hosts_give_the_same_bytes_as_one(model, whole, source, log, tmp_path):
  output = tmp_path / "out.jsonl"
  main(arguments(model, source, output, "--host=1", "--hosts=2"))
  assert {id_.split("/")[0] for id_, *_ in read(log)} == {"q2", "q3", "q6", "q7"}  # batches 1 and 3
  merge = [f"--input={source}", f"--out={output}", "--merge"]
  with pytest.raises(InputError, match=r"5 rows of host 0 of 2 are not labelled yet"):
    main(merge)
  assert not output.exists()
  main(arguments(model, source, output, "--host=0", "--hosts=2"))
  assert not output.exists()
  write_rows(source, ROWS[:-1])
  with pytest.raises(InputError, match=r"rows\.jsonl: not the rows"):
    main(merge)
  write_rows(source, ROWS)
  main(merge)
  assert output.read_bytes() == whole[0].read_bytes()


def test_records_in_records_out(model, whole, log, tmp_path):
  about = {"name": "toy", "version": "2.0.1", "description": "a toy", "licence": "MIT"}
  write_records(tmp_path / "in", ROWS, **about)
  main(arguments(model, tmp_path / "in", tmp_path / "out"))
  found = Records(tmp_path / "out")
  assert (found.name, found.version, found.licence) == ("toy", "2.0.1", "MIT")
  assert found.description == f"a toy\nLabelled by {SAMPLES} responses a row."
  for row, expected in zip(found, read(whole[0]), strict=True):
    assert {name: value for name, value in row.items() if value is not None or name in expected} == expected
  assert found.column("difficulty") == [row["difficulty"] for row in read(whole[0])]
  first = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
  main(arguments(model, tmp_path / "in", tmp_path / "out"))
  assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == first
  main(arguments(model, tmp_path / "in", tmp_path / "lines.jsonl", "--format=jsonl"))
  assert [(p.id, p.pass_rate) for p in load_problems(str(tmp_path / "lines.jsonl"))] == [
    (row["id"], row["pass_rate"]) for row in read(whole[0])
  ]


def test_rows_of_a_callable_become_native(model, whole, log, tmp_path):
  main(arguments(model, "tests.helpers.label_plugins:rows", tmp_path / "out", "--format=records", "--version=1.2.3"))
  found = Records(tmp_path / "out")
  assert found.version == "1.2.3"
  assert [row["original_difficulty"] for row in found] == [f"Level {i}" for i in range(9)]
  # equal prompts, keys and weights give the labels of the file
  assert found.column("pass_rate") == [row["pass_rate"] for row in read(whole[0])]


def test_rows_that_cannot_be_labelled_get_no_label(model, log, tmp_path, capsys):
  odd = [
    ROWS[0],
    {"id": "long", "domain": "math", "question": "x " * 3000, "answer": "1", "difficulty": "Level 1"},
    {
      "id": "turned",
      "domain": "code",
      "question": "f",
      "tests": {"type": "assert", "cases": ["import os; os.system('x')"]},
    },
    ROWS[1],
  ]
  write_rows(tmp_path / "in.jsonl", odd)
  main(arguments(model, tmp_path / "in.jsonl", tmp_path / "out.jsonl"))
  found = read(tmp_path / "out.jsonl")
  assert [row["pass_rate"] is None for row in found] == [False, True, True, False]
  assert [row["difficulty"] is None for row in found] == [False, True, True, False]
  assert found[1]["original_difficulty"] == "Level 1" and found[2]["rollouts"]["n"] == 0
  assert "2 of 4 rows cannot be used, as row 1: a prompt of" in capsys.readouterr().err
  load_problems(str(tmp_path / "out.jsonl"))
  write_rows(tmp_path / "none.jsonl", odd[1:3])
  with pytest.raises(InputError, match=r"2 of 2 rows cannot be used"):
    main(arguments(model, tmp_path / "none.jsonl", tmp_path / "none.out"))
  assert not list(tmp_path.glob("none.out*"))


def test_unjudged_responses_give_no_label(model, source, log, tmp_path):
  main(arguments(model, source, tmp_path / "out.jsonl", reward="tests.helpers.label_plugins:never_judged"))
  rows = read(tmp_path / "out.jsonl")
  for row in rows:  # truncated responses count as wrong without a judge
    seen = row["rollouts"]
    assert seen["n"] == seen["n_truncated"] and seen["n_unjudged"] + seen["n"] == SAMPLES
    assert (row["difficulty"], row["pass_rate"]) == ((None, None) if seen["n"] == 0 else ("unsolved", 0.0))
  assert any(row["difficulty"] is None for row in rows)


def test_seed_and_temperature_change_the_responses(model, whole, source, log, tmp_path):
  def responses(*more):
    shutil.rmtree(tmp_path / "out.jsonl.parts", ignore_errors=True)
    (tmp_path / "out.jsonl").unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    main(arguments(model, source, tmp_path / "out.jsonl", *more))
    return {id_: response for id_, _, response, _, _ in read(log)}

  first = {f"{row}/{sample}": seen[0] for row, of_row in whole[1].items() for sample, seen in of_row.items()}
  assert responses() == first
  for more in ("--seed=1", "--temperature=0.5"):
    other = responses(more)
    assert other.keys() == first.keys()
    assert np.mean([other[id_] != first[id_] for id_ in first]) > 0.5


@pytest.mark.parametrize(
  "more, message",
  [
    (["--samples=6"], r"--samples \(5 there, 6 here\)"),
    (["--temperature=0.9"], r"config\.rollout\.temperature \(1\.0 there, 0\.9 here\)"),
    (["--max-new-tokens=9"], r"config\.rollout\.max_new_tokens"),
    (["--seed=3"], r"config\.train\.seed"),
    (["--config.prompt.math=Say it."], r"config\.prompt\.math"),
    (["--hosts=2", "--host=0"], r"--hosts \(1 there, 2 here\)"),
    (["--config.reward.timeout_s=9", "--batch-rows=3"], r"reward\.timeout_s.*--batch-rows"),
  ],
)
def test_other_settings_on_the_same_output_are_refused(model, whole, log, tmp_path, more, message):
  for name in ("rows.jsonl", "out.jsonl"):
    shutil.copy(whole[0].with_name(name), tmp_path / name)
  shutil.copytree(whole[0].with_name("out.jsonl.parts"), tmp_path / "out.jsonl.parts")
  before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
  with pytest.raises(InputError, match=message):
    main(arguments(model, tmp_path / "rows.jsonl", tmp_path / "out.jsonl", *more))
  assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_other_rows_and_another_model_are_refused(model, whole, log, tmp_path):
  shutil.copytree(whole[0].with_name("out.jsonl.parts"), tmp_path / "out.jsonl.parts")
  write_rows(tmp_path / "rows.jsonl", [*ROWS[:-1], ROWS[-1] | {"answer": "0"}])
  with pytest.raises(InputError, match=r"other settings: --input \("):
    main(arguments(model, tmp_path / "rows.jsonl", tmp_path / "out.jsonl"))
  write_rows(tmp_path / "rows.jsonl", ROWS)
  other = tmp_path / "model"
  shutil.copytree(model, other)
  with (other / "model.safetensors").open("r+b") as stream:
    stream.seek(-1, os.SEEK_END)
    stream.write(b"\x01")
  with pytest.raises(InputError, match=r"other settings: --model \("):
    main(arguments(other, tmp_path / "rows.jsonl", tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
  "line",
  [
    "[]",
    '{"batch": 99, "rows": []}',
    '{"batch": 0, "rows": [[5, 1, 0, -1], [5, 1, 0, 0]]}',
    '{"batch": 0, "rows": [[5, 6, 0, 0], [5, 1, 0, 0]]}',
    "nonsense",
  ],
)
def test_a_corrupt_part_is_named(model, whole, log, tmp_path, line):
  shutil.copy(whole[0].with_name("rows.jsonl"), tmp_path / "rows.jsonl")
  shutil.copytree(whole[0].with_name("out.jsonl.parts"), tmp_path / "out.jsonl.parts")
  (part,) = (tmp_path / "out.jsonl.parts").glob("host*.jsonl")
  part.write_text(line + "\n")
  with pytest.raises(InputError, match=rf"{part}:1: "):
    main(arguments(model, tmp_path / "rows.jsonl", tmp_path / "out.jsonl"))
  assert part.read_text() == line + "\n"


def test_only_one_set_of_settings_wins_when_hosts_start_together(tmp_path):
  folder = tmp_path / "parts"

  def start(seed: int) -> str | None:
    try:
      claim(folder, {"seed": seed, "prompt": "é" * 50_000})
    except InputError as error:
      return str(error)[:200]

  with ThreadPoolExecutor(8) as pool:
    errors = list(pool.map(start, [seed % 2 for seed in range(40)]))
  winner = read_settings(folder)["seed"]
  for seed, error in enumerate(errors):
    expected = None if seed % 2 == winner else f"seed ({winner} there, {seed % 2} here)"
    assert error is None if expected is None else expected in error
  assert [file.name for file in folder.iterdir()] == ["settings.json"]
  (folder / "settings.json").rename(folder / "settings.abc.partial")  # simulates a kill while the labelling started
  assert is_parts(folder)


def test_corrupt_settings_are_named(source, log, tmp_path):
  (tmp_path / "out.jsonl.parts").mkdir()
  (tmp_path / "out.jsonl.parts" / "settings.json").write_text('{"--hosts": "two"}')
  with pytest.raises(InputError, match=r"settings\.json: field config\.data\.format"):
    main([f"--input={source}", f"--out={tmp_path / 'out.jsonl'}", "--merge"])


def test_unwritable_rows_are_refused_before_sampling(model, log, tmp_path):
  write_rows(tmp_path / "in.jsonl", [ROWS[0], ROWS[1] | {"licence": 3}])
  with pytest.raises(InputError, match=r"in\.jsonl: row 1: field licence"):
    main(arguments(model, tmp_path / "in.jsonl", tmp_path / "out", "--format=records"))
  with pytest.raises(InputError, match=r"row 0: field odd"):
    main(arguments(model, "tests.helpers.label_plugins:odd_rows", tmp_path / "out.jsonl"))
  assert not log.exists() and not list(tmp_path.glob("out*"))


def test_existing_files_are_not_overwritten(model, source, log, tmp_path):
  (tmp_path / "mine.jsonl").write_text("keep")
  (tmp_path / "other.parts").mkdir()
  (tmp_path / "other.parts" / "notes").write_text("keep")
  for output, message in (
    (tmp_path / "mine.jsonl", "already exists"),
    (tmp_path / "other", "expected the folder of a labelling"),
    (source, "a place other than --input"),
    (tmp_path / "no" / "out", "expected an existing folder"),
  ):
    with pytest.raises(InputError, match=message):
      main(arguments(model, source, output))
  assert (tmp_path / "mine.jsonl").read_text() == "keep" and read(source) == ROWS
  assert not (tmp_path / "mine.jsonl.parts").exists()


@pytest.mark.parametrize(
  "more, message",
  [
    (["--samples=0"], "--samples"),
    (["--batch-rows=-1"], "--batch-rows"),
    (["--host=2", "--hosts=2"], "--host: expected 0 to 1"),
    (["--temperature=0"], "temperature"),
    (["--max-new-tokens=0"], "--max-new-tokens"),
    (["--bogus=1"], "--bogus=1: unknown option"),
    (["--merge", "--bogus=1"], "--bogus=1: unknown option"),
    (["--merge"], r"settings\.json: no such file"),
    (["--format=records", "--version=1"], "three numbers"),
    (["--config.rollout.bogus=1"], "bogus"),
    (["--model=/nowhere"], "/nowhere"),
    (["--input=/nowhere.jsonl"], r"/nowhere\.jsonl: no such file"),
  ],
)
def test_bad_arguments(model, source, log, tmp_path, more, message):
  with pytest.raises(InputError, match=message):
    main(arguments(model, source, tmp_path / "out.jsonl", *more))
  assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
  "row, message",
  [
    ({"id": "x", "domain": "poetry", "question": "?", "answer": "1"}, "poetry"),
    ({"id": "x", "domain": "math", "question": "?"}, r"in\.jsonl:2: field answer"),
    ({"id": "q0", "domain": "math", "question": "?", "answer": "1"}, r"in\.jsonl:2: field id"),
  ],
)
def test_a_bad_row_is_refused_before_sampling(model, log, tmp_path, row, message):
  write_rows(tmp_path / "in.jsonl", [ROWS[0], row])
  with pytest.raises(InputError, match=message):
    main(arguments(model, tmp_path / "in.jsonl", tmp_path / "out.jsonl"))
  assert not log.exists() and not list(tmp_path.glob("out*"))
