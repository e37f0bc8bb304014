"""Extra fields of rows in a user-defined domain, from every kind of file to the digest."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srpo_jax.data.dataset import load_problems, open_rows
from srpo_jax.data.digests import rows_digest
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.data.prompt_set import PromptSet
from srpo_jax.data.prompts import format_prompt
from srpo_jax.data.records_writer import write_records
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

ROWS = [
  {
    "id": "a",
    "domain": "puzzle",
    "question": "Solve.",
    "numbers": [4, 5],
    "target": 24.5,
    "clue": {"of": [{"x": None}]},
  },
  {
    "id": "b",
    "domain": "puzzle",
    "question": "Solve.",
    "answer": 7,
    "tests": {"any": [1]},
    "numbers": [1],
    "clue": None,
  },
]
PROBLEMS = (
  Problem("a", "puzzle", "Solve.", extra={"numbers": [4, 5], "target": 24.5, "clue": {"of": [{"x": None}]}}),
  Problem("b", "puzzle", "Solve.", "7", {"any": [1]}, extra={"numbers": [1]}),
)


def own_rows():
  return ROWS


def own_problems():
  return PROBLEMS


def jsonl(folder, rows):
  (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(folder / "rows.jsonl")


def test_extra_fields_come_from_files_records_and_callables(tmp_path):
  write_records(tmp_path / "records", ROWS, name="own", version="1.0.0", description="Own.")
  for spec in (jsonl(tmp_path, ROWS), str(tmp_path / "records"), f"{__name__}:own_rows", f"{__name__}:own_problems"):
    assert load_problems(spec) == PROBLEMS, spec
  table = pa.Table.from_pylist([{**row, "tests": None} for row in ROWS])
  pq.write_table(table, tmp_path / "rows.parquet")
  (first, second) = load_problems(str(tmp_path / "rows.parquet"))
  assert first == PROBLEMS[0] and second.extra == {"numbers": [1]}


def test_rows_that_are_written_again_keep_their_fields_as_they_were(tmp_path):
  for spec in (jsonl(tmp_path, ROWS), f"{__name__}:own_problems"):
    _, rows = open_rows(spec)
    assert [{k: v for k, v in row.items() if v is not None} for row in rows] == [
      ROWS[0],
      {k: v for k, v in ROWS[1].items() if v is not None} | {"answer": "7"},
    ]


def test_built_in_domains_have_no_extra_fields(tmp_path):
  row = {"id": "a", "domain": "math", "question": "2 + 2?", "answer": "4", "numbers": [1]}
  assert load_problems(jsonl(tmp_path, [row])) == (Problem("a", "math", "2 + 2?", "4"),)


@pytest.mark.parametrize(
  ("fields", "message"),
  [({"odd": {1, 2}}, "field odd: expected a JSON value"), ({"tests": [1]}, "field tests: expected an object")],
)
def test_fields_that_no_judge_could_be_sent_are_named(fields, message, monkeypatch):
  monkeypatch.setitem(globals(), "odd_rows", lambda: [ROWS[0] | fields])
  with pytest.raises(InputError, match=rf":odd_rows: row 0: {message}"):
    load_problems(f"{__name__}:odd_rows")


def prompt_set(talkative, problems, instructions):
  render = PromptRenderer(load_tokenizer(talkative), instructions=instructions)
  return PromptSet("set", problems, render=render, max_tokens=999, check=lambda p: None)


def digests(talkative, problems, instructions):
  made = prompt_set(talkative, problems, instructions)
  assert [made[p.id].problem for p in problems] == list(problems)
  return made.digests


def test_digests_have_the_extra_fields_of_own_domains_only(talkative):
  math = Problem("m", "math", "2 + 2?", "4", source="here")
  both = digests(talkative, (math, *PROBLEMS), {"math": "Box it."})
  # Checkpoints from before extra fields existed have these digests.
  old = json.dumps(["m", format_prompt("2 + 2?", "Box it."), "4", None])
  assert both["math"] == hashlib.sha256(old.encode()).hexdigest()
  assert rows_digest([math]) == hashlib.sha256(json.dumps(["m", "math", "2 + 2?", "4", None]).encode()).hexdigest()

  turned = Problem("b", "puzzle", "Solve.", "7", {"any": [1]}, extra={"numbers": [2]})
  assert digests(talkative, (PROBLEMS[0], turned), {})["puzzle"] != both["puzzle"]
  assert rows_digest((PROBLEMS[0], turned)) != rows_digest(PROBLEMS)
  same = Problem("a", "puzzle", "Solve.", extra=dict(reversed(PROBLEMS[0].extra.items())))
  assert digests(talkative, (same, PROBLEMS[1]), {})["puzzle"] == both["puzzle"]


def test_an_own_domain_without_an_instruction_has_an_empty_one(talkative):
  for instructions in ({}, {"puzzle": "Be brief."}):
    made = prompt_set(talkative, PROBLEMS, instructions)
    assert made["a"].text == format_prompt("Solve.", instructions.get("puzzle", ""))
