"""The score command: verdicts of a file's rows, rejected rows, and bad arguments."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def row(id: object = "a", answer: object = "5", stated: str = "5", **fields: object) -> dict[str, Any]:
  response = rf"I add.</think><answer>\boxed{{{stated}}}</answer>"
  return {"id": id, "prompt": "2+3?", "response": response, "domain": "math", "answer": answer, **fields}


def score(folder: Path, lines: Sequence[object], *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
  """Runs the command on `lines` (objects become JSON, text and bytes are written unchanged)."""
  data = b"".join(_encoded(line) + b"\n" for line in lines)
  (folder / "in.jsonl").write_bytes(data)
  return run("--input", str(folder / "in.jsonl"), "--out", str(folder / "out.jsonl"), *options, code=code)


def _encoded(line: object) -> bytes:
  if isinstance(line, bytes):
    return line
  return line.encode() if isinstance(line, str) else json.dumps(line).encode()


def run(*arguments: str, code: int) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, "-m", "srpo_jax.score", "--workers", "1", *arguments]
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
  assert done.returncode == code, done.stderr
  return done


def rows(path: Path) -> list[dict[str, Any]]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
  assert len(done.stderr.splitlines()) == 1, done.stderr
  assert all(word in done.stderr for word in words), done.stderr


def test_a_file_is_scored_in_its_order(tmp_path: Path) -> None:
  truncated = "I add and add"
  lines = [
    row("right"),
    row("wrong", stated="6"),
    row("proof", r"2+\sqrt{3}", r"\sqrt{3}+2"),
    row("right", stated="2+3"),  # an id may repeat, for samples of one prompt
    row(7, 5),
    row("float", 5.0),
    row("cut", ended=False, response=truncated),
    row("eos", response=row()["response"] + "<|endoftext|>", ended=False),
    row("eos of chat", response=row()["response"] + "<|im_end|>"),
    row("mixed", response="所以" + row()["response"]),
    row("loose", response="<answer>5</answer>"),
  ]
  done = score(tmp_path, lines)
  assert done.stderr == ""
  found = rows(tmp_path / "out.jsonl")
  assert list(found[0]) == ["id", "format", "language_mix", "correct", "reward", "reason", "time"]
  table = [(r["id"], r["format"], r["language_mix"], r["correct"], round(r["reward"], 9), r["reason"]) for r in found]
  assert table == [
    ("right", 1, 0, 1, 1.1, "equal"),
    ("wrong", 1, 0, 0, 0.1, "different value"),
    ("proof", 1, 0, 1, 1.1, "equal"),
    ("right", 1, 0, 0, 0.1, "not evaluated: sum"),
    (7, 1, 0, 1, 1.1, "equal"),
    ("float", 1, 0, 1, 1.1, "equal"),
    ("cut", 0, 0, 0, 0.0, "truncated"),
    ("eos", 1, 0, 1, 1.1, "equal"),
    ("eos of chat", 1, 0, 1, 1.1, "equal"),
    ("mixed", 1, 1, 1, 1.0, "equal"),
    ("loose", 0, 0, 1, 1.0, "equal"),
  ]
  assert all(r["time"] >= 0 for r in found) and found[2]["time"] > 0
  assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_validator_json(tmp_path: Path) -> None:
  score(tmp_path, [row(response='I add.</think><answer>{"answer": "5"}</answer>')], "--validator", "json")
  assert [(r["format"], r["correct"]) for r in rows(tmp_path / "out.jsonl")] == [(1, 1)]


BAD = [
  ("no json", "expected a JSON object"),
  ("", "expected a JSON object"),
  (b"\xff\xfe", "expected a JSON object"),
  ("[" * 100_000, "expected a JSON object"),
  ([1], "expected a JSON object, found list"),
  ({"id": "x"}, "field prompt: expected a string, found nothing"),
  (row(None), "field id: expected a string or an integer, found null"),
  (row(True), "field id: expected a string or an integer, found true"),
  (row(response=5), "field response: expected a string, found 5"),
  (row(domain="poetry"), "domain 'poetry' has no judge, expected one of: math, code"),
  (row(domain="code"), "field tests: expected an object with type and cases, found None"),
  (row(answer=None), "field answer: expected the gold answer, found None"),
  (row(answer=[5]), "field answer: expected a string or a number, found [5]"),
  (row(answer=float("nan")), "field answer: expected a string or a number, found NaN"),
  (row(ended="yes"), 'field ended: expected true or false, found "yes"'),
  (row(question=3), "field question: expected a string, found 3"),
  (row(opens_think="user"), 'field opens_think: expected prompt, template, model, found "user"'),
  (
    row(prompt="2+3? <think>", opens_think="model"),
    "field opens_think: expected prompt or template, since the prompt ends in <think>",
  ),
]


def test_rows_say_who_opens_the_thought_and_what_was_asked(tmp_path: Path) -> None:
  opened = "<think>" + row()["response"]
  russian = row()["response"].replace("I add.", "Итак, ответ.")
  few_shot = "Сколько будет 1+1? 2+3?"
  lines = [
    row(response=opened, opens_think="model"),
    row(opens_think="model"),
    row(response=opened),
    row(prompt="2+3? <think>", opens_think="template"),
    row(prompt=few_shot, response=russian),
    row(prompt=few_shot, response=russian, question="2+3?"),
    row(response=row()["response"] + "<|eot_id|>"),
  ]
  score(tmp_path, lines)
  found = rows(tmp_path / "out.jsonl")
  assert [r["format"] for r in found] == [1, 0, 0, 1, 1, 1, 1] and {r["correct"] for r in found} == {1}
  assert [r["language_mix"] for r in found] == [0, 0, 0, 0, 0, 1, 0]


def test_bad_rows_are_rejected_with_their_line_number(tmp_path: Path) -> None:
  lines = [row("first"), *(line for line, _ in BAD), row("last")]
  done = score(tmp_path, lines)
  refused(done, f"{len(BAD)} of {len(BAD) + 2} rows rejected", "out.jsonl.rejected.jsonl")
  assert [r["id"] for r in rows(tmp_path / "out.jsonl")] == ["first", "last"]
  assert [(r["line"], r["reason"]) for r in rows(tmp_path / "out.jsonl.rejected.jsonl")] == [
    (number, reason) for number, (_, reason) in enumerate(BAD, start=2)
  ]
  score(tmp_path, [row("first")])
  assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()  # an old one would describe another input


@pytest.mark.parametrize(("line", "reason"), [BAD[0], BAD[9], BAD[10]])
def test_strict_stops_at_the_first_bad_row_and_writes_nothing(tmp_path: Path, line: object, reason: str) -> None:
  (tmp_path / "out.jsonl").write_text("before\n")
  done = score(tmp_path, [row(), line, "[]"], "--strict", code=2)
  refused(done, "in.jsonl:2:", reason)
  assert (tmp_path / "out.jsonl").read_text() == "before\n"
  assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ((), ["--input"]),
    (("--input", "{}/none.jsonl", "--out", "{}/out.jsonl"), ["none.jsonl", "No such file"]),
    (("--input", "{}", "--out", "{}/out.jsonl"), ["Is a directory"]),
    (("--input", "{}/in.jsonl", "--out", "{}/none/out.jsonl"), ["--out", "none"]),
    (("--input", "{}/in.jsonl", "--out", "{}/in.jsonl"), ["--out", "another file"]),
    (("--input", "{}/in.jsonl", "--out", "{}"), ["Is a directory"]),
    (("--input", "{}/in.jsonl", "--out", "{}/out.jsonl", "--validator", "xml"), ["--validator", "xml"]),
    (("--input", "{}/in.jsonl", "--out", "{}/out.jsonl", "--timeout-s", "0"), ["--timeout-s"]),
    (("--input", "{}/in.jsonl", "--out", "{}/out.jsonl", "--timeout-s", "soon"), ["--timeout-s", "soon"]),
    (("--input", "{}/in.jsonl", "--out", "{}/out.jsonl", "--workers", "0"), ["workers"]),
    (("--input", "{}/in.jsonl", "--out", "{}/out.jsonl", "--unknown"), ["--unknown"]),
  ],
)
def test_bad_arguments_end_with_one_line(tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
  (tmp_path / "in.jsonl").write_text(json.dumps(row()) + "\n")
  refused(run(*(argument.replace("{}", str(tmp_path)) for argument in arguments), code=2), *words)
  assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_unjudged_row_has_null_for_a_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
  """Calls the entry point with a worker that cannot be started."""
  from srpo_jax import score as command

  (tmp_path / "in.jsonl").write_text(json.dumps(row("a", r"2+\sqrt{3}", r"\sqrt{3}+2")) + "\n")
  monkeypatch.setattr(sys, "executable", "/nonexistent/python")
  command.main(["--input", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"), "--workers", "1"])
  (found,) = rows(tmp_path / "out.jsonl")
  assert (found["correct"], found["reward"]) == (None, None)
  assert found["reason"].startswith("no worker: cannot start")
