"""The command `python -m srpo_jax.score` on code rows, with and without `--explain`."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = {"type": "assert", "cases": ["assert f(1) == 2", "assert f(3) == 6"]}


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, "-m", "srpo_jax.score", *map(str, arguments)]
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
  assert done.returncode == code, done.stderr
  return done


def row(id, program, tests=TESTS, **fields):
  response = f"I write.</think><answer>```python\n{program}\n```</answer>"
  return {"id": id, "prompt": "Write f.", "response": response, "domain": "code", "tests": tests, **fields}


def write(file: Path, rows) -> Path:
  file.write_text("".join(json.dumps(one) + "\n" for one in rows))
  return file


def test_code_rows_get_a_pass_fraction_and_math_rows_do_not(tmp_path):
  maths = {"id": 3, "prompt": "?", "response": r"x</think><answer>\boxed{5}</answer>", "domain": "math", "answer": 5}
  rows = [row("a", "def f(x): return 2 * x"), row("b", "def f(x): return x + 1"), maths, row("c", "x", None)]
  done = run("--input", write(tmp_path / "in.jsonl", rows), "--out", tmp_path / "out.jsonl")
  assert "1 of 4 rows rejected" in done.stderr
  found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
  table = [(r["id"], r["correct"], r.get("pass_fraction")) for r in found]
  assert table == [("a", 1, 1.0), ("b", 0, 0.5), (3, 1, None)]
  assert round(found[0]["reward"], 9) == 1.1 and "pass_fraction" not in found[2]
  (rejected,) = [json.loads(line) for line in (tmp_path / "out.jsonl.rejected.jsonl").read_text().splitlines()]
  assert rejected == {"line": 4, "reason": "field tests: expected an object with type and cases, found None"}


def test_strict_names_the_line_whose_tests_cannot_be_turned(tmp_path):
  rows = [row("a", "x"), row("b", "x", {"type": "assert", "cases": ["for i in f(1): pass"]})]
  done = run("--input", write(tmp_path / "in.jsonl", rows), "--out", tmp_path / "o.jsonl", "--strict", code=2)
  assert "in.jsonl:2: field tests.cases[0]: cannot be turned into calls: has a For statement" in done.stderr
  assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "o.jsonl").exists()


def test_explain_lists_and_counts_turned_and_refused_rows(tmp_path):
  mbpp = {"task_id": 1, "prompt": "Double.", "code": "def f(x):\n  return 2 * x", "test_list": TESTS["cases"]}
  loop = mbpp | {"test_list": ["for i in range(3):\n  assert f(i) == 2 * i"]}
  file = write(tmp_path / "rows.jsonl", [row("a", "x"), mbpp, loop, {"domain": "math", "question": "?", "answer": "1"}])
  assert run("--explain", "--input", file).stdout.splitlines() == [
    f"{file}:1: turned: 2 tests, 2 calls",
    f"{file}:2: turned: 2 tests, 2 calls",
    f"{file}:3: refused: field tests.cases[0]: cannot be turned into calls: has a For statement: "
    "'for i in range(3):\\n assert f(i) == 2 * i'",
    "2 rows turned, 1 refused",
  ]


def test_explain_names_a_line_that_is_not_a_row(tmp_path):
  (tmp_path / "rows.jsonl").write_text("{}\nno\n")
  done = run("--explain", "--input", tmp_path / "rows.jsonl", code=2)
  assert "rows.jsonl:2: expected a JSON object" in done.stderr


def test_a_sandbox_that_cannot_start_ends_the_run_and_rejects_no_row(tmp_path):
  file = write(tmp_path / "in.jsonl", [row("a", "def f(x): return 2 * x")])
  done = run("--input", file, "--out", tmp_path / "o.jsonl", "--packages", "no_such_package", code=2)
  assert "sandbox.packages: expected installed packages" in done.stderr and len(done.stderr.splitlines()) == 1
  assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_no_output_is_an_error_unless_explaining(tmp_path):
  assert "--out" in run("--input", write(tmp_path / "in.jsonl", []), code=2).stderr
