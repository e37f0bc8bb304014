"""Tests of the entry point on whole sets: counts, side files, resuming, equal bytes and errors about bad input."""

import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srpo_jax import curate
from srpo_jax.data.curation import pipeline, shards, survivors
from srpo_jax.data.records import Records
from srpo_jax.utils.errors import InputError
from tests.helpers.chat_rows import DAPO, EURUS_CODE, EURUS_MATH
from tests.helpers.curation import EVAL_SETS, lines, read_lines

EVAL_ITEM = (
  "Positive integers a and b satisfy a + b = 1000 while neither of them has a digit equal to zero. "
  "How many pairs are there?"
)


def gsm(question, answer="1"):
  return {"question": question, "answer": f"work\n#### {answer}"}


# Rows, each with the (stage, rule) that drops it, or None for a row that is kept.
GSM8K = [
  (gsm("Tom has 3 apples and buys 5 more of them. How many apples does he have now?", "8"), None),
  (gsm("Ann has 3 apples &amp; eats one. How many are left? See https://example.org/x", "2"), None),
  ("{not json", ("completeness", "unreadable")),
  ('{"question": "Caf\\ud800", "answer": "#### 1"}', ("completeness", "incomplete")),
  ([1, 2], ("completeness", "unreadable")),
  ({"question": "No answer here?"}, ("completeness", "incomplete")),
  ({"question": "", "answer": "#### 1"}, ("completeness", "incomplete")),
  (gsm("What\ufffds this?"), ("completeness", "damaged")),
  (gsm("https://example.org/only"), ("normalisation", "empty")),
  (gsm("long " * 3000), ("normalisation", "long_question")),
  (gsm("Prove that 2 is prime."), ("math_rules", "proof")),
  (gsm("In a hard contest: " + EVAL_ITEM, "738"), ("decontamination", "aime24")),
  (gsm("TOM has 3 apples  and buys 5 more of them. How many apples does he have now?", "8"), ("duplicates", "exact")),
  (gsm("If Tom has 3 apples and buys 5 more of them, how many apples does he have now?", "8"), ("duplicates", "near")),
  (gsm("How many days are in 3 weeks?", "21"), ("duplicates", "conflicting_answers")),
  (gsm("How many days are in 3 weeks?", "22"), ("duplicates", "conflicting_answers")),
]  # fmt: skip
MBPP = [
  ({"task_id": 601, "prompt": "Write a function to add one.", "code": "def f(x):\n  return x + 1",
    "test_list": ["assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4"]}, None),
  ({"task_id": 602, "prompt": "Write a function to add two.", "code": "def f(x):\n  return x + 1",
    "test_list": ["assert f(1) == 3", "assert f(2) == 4", "assert f(3) == 5"]}, ("verification", "reference_fails")),
  ({"task_id": 603, "prompt": "Write a function to add three.", "code": "def f(x):\n  return x + 3",
    "test_list": ["assert f(1) == 4"]}, ("code_rules", "few_tests")),
  ({"task_id": 604, "prompt": "Write a function to read a text file.", "code": "def f(x):\n  return open(x).read()",
    "test_list": ["assert f('a') == 'b'"] * 3}, ("code_rules", "files")),
]  # fmt: skip


@pytest.fixture
def sets(tmp_path):
  """Files of two sources and a flag that names the file of an evaluation set."""
  return {
    "gsm8k": lines(tmp_path / "train.jsonl", [row for row, _ in GSM8K]),
    "mbpp": lines(tmp_path / "mbpp.jsonl", [row for row, _ in MBPP]),
    "flag": f"--config.eval_sets.aime24.path={lines(tmp_path / 'aime.jsonl', [{'id': 60, 'problem': EVAL_ITEM}])}",
  }


def files(folder: Path) -> list[str]:
  return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same(one: Path, other: Path) -> None:
  names = files(one)
  assert names == files(other) and len(names) >= 12
  assert filecmp.cmpfiles(one, other, names, shallow=False) == (names, [], [])


def test_every_row_is_kept_or_listed_in_a_side_file(run, sets, tmp_path):
  flag = sets.pop("flag")
  output = run(tmp_path / "out", flag, "--config.verify.min_tier=unsafe", **sets)
  dropped = {
    (row["source"], row["index"]): (file.stem, row["rule"])
    for file in (output / "dropped").glob("*.jsonl")
    for row in read_lines(file)
  }
  expected = {
    (name, number): why for name, rows in (("gsm8k", GSM8K), ("mbpp", MBPP)) for number, (_, why) in enumerate(rows)
  }
  assert dropped == {place: why for place, why in expected.items() if why}
  records = Records(output / "records")
  kept = [row["id"] for row in (records[i] for i in range(len(records)))]
  assert kept == ["gsm8k/0000000", "gsm8k/0000001", "mbpp-601"]
  assert records[1]["question"] == "Ann has 3 apples & eats one. How many are left?" and records[1]["answer"] == "2"
  assert records[2]["tests"]["cases"] == MBPP[0][0]["test_list"]
  counts = json.loads((output / "curation.json").read_text())["counts"]
  assert counts["gsm8k"]["read"] == len(GSM8K) and counts["gsm8k"]["kept"] == {"math": 2}
  assert counts["gsm8k"]["changed"] == {"html": 1, "url": 2, "whitespace": 1}
  (leak,) = read_lines(output / "dropped/decontamination.jsonl")
  assert leak["eval_set"] == "aime24" and leak["eval_id"] == "60" and leak["share"] == 1.0
  assert leak["row"]["question"].endswith("How many pairs are there?")
  assert not (output / ".work").exists()
  card = (output / "card.md").read_text()
  assert "| completeness | 6 | 0 | 6 |" in card and "**not compared with**" in card and "CC-BY-4.0" in card
  assert str(tmp_path) not in card + (output / "curation.json").read_text()


def test_no_output_holds_a_reference_program(run, sets, tmp_path):
  output = run(tmp_path / "out", "--config.verify.min_tier=unsafe", mbpp=sets["mbpp"])
  found = [name for name in files(output) if "return x + 3" in (output / name).read_bytes().decode("latin-1")]
  assert found == []


def test_bytes_do_not_depend_on_shards_and_workers(run, sets, tmp_path):
  flag = sets.pop("flag")
  one = run(tmp_path / "one", flag, "--config.verify.min_tier=unsafe", **sets)
  other = run(
    tmp_path / "two",
    flag,
    "--config.verify.min_tier=unsafe",
    "--config.work.workers=2",
    "--config.work.shard_rows=3",
    **sets,
  )
  assert_same(one, other)


def test_a_finished_curation_is_not_run_again_and_another_config_is_refused(run, sets, tmp_path, monkeypatch):
  output = run(tmp_path / "out", gsm8k=sets["gsm8k"])
  before = {name: (output / name).stat().st_mtime_ns for name in files(output)}
  monkeypatch.setattr(pipeline, "_run_shards", lambda *a: pytest.fail("curated again"))
  run(output, gsm8k=sets["gsm8k"])
  with pytest.raises(InputError, match="out: holds the result of another config"):
    run(output, "--config.rules.max_answer=100", gsm8k=sets["gsm8k"])
  assert {name: (output / name).stat().st_mtime_ns for name in files(output)} == before


@pytest.mark.parametrize("at", ["process", "without_duplicates", "verified", "write_card"])
def test_an_interrupted_curation_resumes_to_the_same_result(run, sets, tmp_path, monkeypatch, at):
  whole = run(tmp_path / "whole", "--config.work.shard_rows=4", gsm8k=sets["gsm8k"])
  module = {"process": shards, "write_card": pipeline}.get(at, survivors)
  real, calls = getattr(module, at), []

  def breaks(*args):
    calls.append(args)
    if len(calls) == (3 if at == "process" else 1):
      raise KeyboardInterrupt
    return real(*args)

  monkeypatch.setattr(module, at, breaks)
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path / "out", "--config.work.shard_rows=4", gsm8k=sets["gsm8k"])
  assert not (tmp_path / "out/curation.json").exists()
  done = []
  monkeypatch.setattr(shards, "process", lambda plan, shard: (done.append(shard), shards_process(plan, shard)))
  if module is not shards:
    monkeypatch.setattr(module, at, real)
  run(tmp_path / "out", "--config.work.shard_rows=4", gsm8k=sets["gsm8k"])
  assert len(done) == (2 if at == "process" else 0)
  assert_same(whole, tmp_path / "out")


shards_process = shards.process


@pytest.mark.slow
def test_a_killed_curation_resumes_and_leaves_no_process(tmp_path):
  rows = [
    gsm(f"Tom has {n} apples and buys {n % 7} more of them on day {n % 11}. How many has he?", str(n))
    for n in range(15_000)
  ]
  train = lines(tmp_path / "train.jsonl", rows)
  arguments = [
    sys.executable, "-m", "srpo_jax.curate", "--config=configs/curate.py", f"--config.sources.gsm8k.path={train}",
    "--config.work.shard_rows=500", "--config.work.workers=2", "--config.work.progress=False",
    *(f"--config.eval_sets.{name}.path=none" for name in EVAL_SETS),
  ]  # fmt: skip
  environment = os.environ | {
    "PYTHONPATH": os.getcwd(),
    "HF_DATASETS_CACHE": str(tmp_path / "hf"),
    "SRPO_CACHE": str(tmp_path / "c"),
  }
  process = subprocess.Popen([*arguments, f"--config.output={tmp_path / 'out'}"], env=environment)
  deadline = time.monotonic() + 900
  while not (started := list((tmp_path / "out").glob(".work/*/gsm8k-*"))) and time.monotonic() < deadline:
    time.sleep(0.02)
  children = [int(p) for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert started and children
  while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not any(Path(f"/proc/{child}").exists() for child in children)
  kept = {path: path.stat().st_ino for path in (tmp_path / "out").glob(".work/*/gsm8k-*")}
  assert 0 < len(kept) < 30
  for name in ("out", "whole"):
    subprocess.run([*arguments, f"--config.output={tmp_path / name}"], env=environment, check=True)
  assert_same(tmp_path / "whole", tmp_path / "out")


def test_dapo_eurus_and_generic_rows_with_repeats(run, tmp_path):
  dapo = lines(tmp_path / "dapo.jsonl", [DAPO, DAPO, DAPO | {"reward_model": {"ground_truth": ""}}])
  pq.write_table(pa.Table.from_pylist([EURUS_MATH, EURUS_CODE]), tmp_path / "eurus.parquet")
  own = lines(
    tmp_path / "own.jsonl", [{"q": "求 $1+1$ 的值。", "gold": 2}, {"q": "What is $\\sqrt{18}$?", "gold": "3\\sqrt{2}"}]
  )
  output = run(
    tmp_path / "out", "--config.sources.generic.columns.question=q", "--config.sources.generic.columns.answer=gold",
    "--config.sources.generic.domain=math", "--config.sources.eurus.min_tests=2", "--config.verify.min_tier=unsafe",
    dapo=dapo, eurus=tmp_path / "eurus.parquet", generic=own,
  )  # fmt: skip
  records = Records(output / "records")
  rows = [records[i] for i in range(len(records))]
  assert [row["question"] for row in rows] == [
    "How many primes are below 10?", "Find $\\cos 60^\\circ$.", "Print the sum of two numbers.", "求 $1+1$ 的值。",
    "What is $\\sqrt{18}$?",
  ]  # fmt: skip
  assert [row["source"] for row in rows] == ["math_dapo", "numina_olympiads", "taco", "generic", "generic"]
  assert [row["rule"] for row in read_lines(output / "dropped/duplicates.jsonl")] == ["exact"]
  assert "1 code rows of eurus have no reference program" in (output / "card.md").read_text()


def test_only_line_feeds_end_lines_and_rows_of_any_type_break_nothing(run, tmp_path):
  odd = [
    json.dumps(gsm("What is 1\u2028plus\x85 3 on day 2?", "4"), ensure_ascii=False),
    "\ufeff" + json.dumps(gsm("What is 2 plus 5 on day 1?", "7")) + "\r",
    "",
    '{"question": "Why?", "answer": ' + "9" * 5000 + "}",
    "[" * 100_000,
    '{"question": {"a": 1}, "answer": NaN}',
  ]
  good = {"task_id": 601, "prompt": "Write f.", "code": "def f(x):\n  return x", "test_list": ["assert f(1) == 1"] * 3}
  bad = [{"task_id": [1]}, {"code": 3}, {"prompt": "Caf\ud800 time"}, {"test_list": [None]}, {"test_setup_code": 3.5}]
  mbpp = lines(tmp_path / "mbpp.jsonl", [good, *(good | change for change in bad)])
  output = run(tmp_path / "o", "--config.verify.programs=False", gsm8k=lines(tmp_path / "g.jsonl", odd), mbpp=mbpp)
  counts = json.loads((output / "curation.json").read_text())["counts"]
  assert counts["gsm8k"]["read"] == 5 and counts["gsm8k"]["kept"] == {"math": 2}
  assert counts["mbpp"]["read"] == 6
  dropped = read_lines(output / "dropped/completeness.jsonl")
  assert {row["index"] for row in dropped if row["source"] == "gsm8k"} == {3, 4, 5}
  assert {row["index"] for row in dropped if row["source"] == "mbpp"} >= {2, 3, 4}


def test_invalid_utf8_costs_only_its_row(run, tmp_path):
  (tmp_path / "g.jsonl").write_bytes(
    b'{"question": "caf\xe9", "answer": "#### 1"}\n' + json.dumps(gsm("Why 3 or 4?")).encode()
  )
  output = run(tmp_path / "out", gsm8k=tmp_path / "g.jsonl")
  (dropped,) = read_lines(output / "dropped/completeness.jsonl")
  assert dropped["index"] == 0 and dropped["matched"] == "expected UTF-8, got the byte 0xe9"
  assert dropped["row"] == '{"question": "caf\\xe9", "answer": "#### 1"}'


def test_the_published_config_gives_every_source_its_path():
  from configs.curate import PUBLISHED, get_config

  config = get_config("published")
  assert {name for name, source in config.sources.items() if source.path} == set(PUBLISHED)
  with pytest.raises(ValueError, match="expected configs/curate"):
    get_config("mine")


def test_repeated_ids_are_made_distinct(run, tmp_path):
  rows = [{"id": "same", "problem": f"What is the sum of {n} and {n + 3}?", "answer": str(2 * n + 3)} for n in range(3)]
  output = run(tmp_path / "out", math=lines(tmp_path / "m.jsonl", rows))
  records = Records(output / "records")
  assert [records[i]["id"] for i in range(3)] == ["math/same", "math/same#1", "math/same#2"]


def bad_inputs(folder: Path) -> dict[str, tuple[list[str], str]]:
  good = f"--config.sources.gsm8k.path={lines(folder / 'good.jsonl', [gsm('How many are 3 and 4?', '7')])}"
  (folder / "empty.jsonl").write_text("")
  (folder / "blank.jsonl").write_text("\n \n")
  (folder / "rows.csv").write_text("a,b\n")
  (folder / "bad.parquet").write_text("no parquet")
  wrong = lines(folder / "wrong.jsonl", [{"problem": "x", "answer": "1"}])
  unreadable = lines(folder / "unreadable.jsonl", ["{"])
  source, aime = "--config.sources.gsm8k.path=", "--config.eval_sets.aime24.path="
  return {
    "no source": ([], "config.sources: no source has a path"),
    "missing file": ([f"{source}{folder}/none.jsonl"], "config.sources.gsm8k.path: .*none.jsonl: no such file"),
    "folder": ([f"{source}{folder}"], "expected a file ending in"),
    "empty file": ([f"{source}{folder}/empty.jsonl"], "empty.jsonl: expected at least one row, found an empty file"),
    "blank lines": ([f"{source}{folder}/blank.jsonl"], "blank.jsonl: expected at least one row"),
    "csv": ([f"{source}{folder}/rows.csv"], r"rows.csv: expected a file ending in .jsonl"),
    "parquet": ([f"{source}{folder}/bad.parquet"], "bad.parquet: cannot be loaded"),
    "columns": ([f"{source}{wrong}"], "wrong.jsonl: no row can be used; row 0: field "),
    "no row": ([f"{source}{unreadable}"], "unreadable.jsonl: no row can be used; row 0: expected one JSON object"),
    "eval file": ([good, f"{aime}{folder}/gone.jsonl"], "aime24.path: .*gone.jsonl: no such file"),
    "no eval path": ([good, aime], "config.eval_sets.aime24.path: missing"),
    "eval row": ([good, f"{aime}{unreadable}"], "unreadable.jsonl: row 0: expected one JSON object"),
    "eval column": ([good, f"{aime}{wrong}", "--config.eval_sets.aime24.column=text"], "field text: expected the text"),
    "rule": ([good, "--config.rules.math=image,colour"], "config.rules.math: unknown rule 'colour'"),
    "format": ([good, "--config.sources.gsm8k.format=tsv"], "gsm8k.format: expected one of"),
    "where": ([good, "--config.sources.gsm8k.where.column=n"], "where.column n: expected a whole number"),
    "unknown field": ([good, "--config.rules.colour=1"], r"config\.rules\.colour: unknown field"),
    "jaccard": ([good, "--config.duplicates.jaccard=2"], "config.duplicates.jaccard: expected a number"),
    "version": ([good, "--config.version=1"], "config.version: expected MAJOR.MINOR.PATCH"),
    "generic": ([good, f"--config.sources.generic.path={folder}/good.jsonl"], "generic.columns.question: missing"),
    "nothing left": ([good, f"{aime}{folder}/good.jsonl"], "no row is left"),
  }  # fmt: skip


CASES = """no source
missing file|folder|empty file|blank lines|csv|parquet|columns|no row|eval file|no eval path|eval row
eval column|rule|format|where|unknown field|jaccard|version|generic|nothing left"""


@pytest.mark.parametrize("case", CASES.replace("\n", "|").split("|"))
def test_bad_input_raises_an_error_that_names_it(run, tmp_path, case):
  flags, message = bad_inputs(tmp_path)[case]
  with pytest.raises(InputError, match=message):
    run(tmp_path / "out", *flags)
  assert not (tmp_path / "out/curation.json").exists()


def test_a_folder_with_other_files_is_refused_and_kept(run, sets, tmp_path):
  (tmp_path / "out").mkdir()
  (tmp_path / "out/thesis.txt").write_text("years of work")
  with pytest.raises(InputError, match="out: not empty, and not an unfinished curation"):
    run(tmp_path / "out", gsm8k=sets["gsm8k"])
  assert files(tmp_path / "out") == ["thesis.txt"]


def test_the_command_prints_one_error_line_and_exits_with_status_2(tmp_path):
  arguments = [
    sys.executable,
    "-m",
    "srpo_jax.curate",
    "--config=configs/curate.py",
    "--config.sources.gsm8k.path=x.jsonl",
  ]
  done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
  assert done.returncode == 2 and done.stderr == "error: config.output: missing, expected --config.output=DIR\n"


def test_no_tensorflow_is_imported():
  program = "import sys, srpo_jax.data.curation.pipeline as p; sys.exit('tensorflow' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": os.getcwd()}).returncode == 0


def test_label_passes_its_arguments_on(monkeypatch):
  import types

  import srpo_jax

  seen = []
  fake = types.ModuleType("srpo_jax.data.labelling.label")
  fake.main = seen.append
  monkeypatch.setitem(sys.modules, "srpo_jax.data.labelling.label", fake)
  monkeypatch.setattr(srpo_jax, "label", fake, raising=False)
  curate.main(["label", "--model", "DIR"])
  assert seen == [["--model", "DIR"]]
