"""Shell lines and examples of the README and of docs/, and the stand-ins that the lines run on."""

import dataclasses
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.paths import ROOT

DOCUMENTS = tuple(
  str(file.relative_to(ROOT))
  for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs/curation/README.md")
)
COMMANDS = ("python", "make", "curl", "pip", "srpo-jax", "source", "git")

# Sizes at which a recipe of any size runs on a CPU in seconds. They follow the flags of a document's line.
SMALL_RUN = {
  "mesh.data": 1,
  "mesh.fsdp": 1,
  "mesh.tensor": 1,
  "model.path": "Qwen2.5-0.5B",
  "model.dtype": "float32",
  "data.limit": 6,
  "data.max_prompt_tokens": 768,
  "rollout.prompts": 2,
  "rollout.group": 2,
  "rollout.slots": 4,
  "rollout.max_new_tokens": 16,
  "rollout.backend": "inprocess",
  "reward.workers": 1,
  "train.steps": 2,
  "train.micro_batch": 4,
  "train.length_bucket": 64,
  "train.pack_tokens": 0,
  "eval.every": 0,
  "log.tensorboard": False,
  "log.progress": False,
}
SMALL_SAMPLES = ("--samples=2", "--max-new-tokens=8", "--config.rollout.slots=4", "--config.rollout.backend=inprocess")


@dataclasses.dataclass(frozen=True)
class ShellLine:
  """A command of a document, continuation lines joined.

  Attributes:
    not_run: the document's reason why no test runs it; empty if one does.
  """

  document: str
  text: str
  not_run: str


def shell_lines(document: str) -> list[ShellLine]:
  """Returns the commands in the indented blocks of a document, in order. Fenced blocks are not read."""
  text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.S)
  joined = re.sub(r" *\\\n +", " ", text)
  found = []
  for line in joined.splitlines():
    if line.startswith("    ") and line.split()[0] in COMMANDS:
      command, _, comment = line.strip().partition("  #")
      reason = re.search(r"not run: ([^)]+)", comment)
      found.append(ShellLine(document, command.strip(), reason[1] if reason else ""))
  return found


def examples() -> dict[str, str]:
  """Returns file name -> code of every `<!-- example: NAME -->` in the documents."""
  texts = [(ROOT / document).read_text() for document in DOCUMENTS]
  return dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", "\n".join(texts), re.S))


def install_examples(folder: Path, monkeypatch) -> None:
  """Writes the documents' examples to a folder and makes them importable, unchanged, for one test."""
  for name, code in examples().items():
    (folder / name).write_text(code)
    monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
  monkeypatch.syspath_prepend(folder)
  importlib.invalidate_caches()


def make_clone(folder: Path) -> Path:
  """Copies the tracked files to a folder, with the examples and stand-ins for the documents' data and models."""
  names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
  for name in names:
    if (ROOT / name).is_file():
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(ROOT / name, folder / name)
  for name, code in examples().items():
    (folder / name).write_text(code)
  make_checkpoint(folder / "Qwen2.5-0.5B")
  shutil.copytree(folder / "Qwen2.5-0.5B", folder / "Qwen2.5-32B")
  for place in (folder, folder / "data", folder / "DATA"):
    place.mkdir(exist_ok=True)
    for name, rows in stand_ins().items():
      (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
  return folder


def stand_ins() -> dict[str, list[dict]]:
  """Returns file name -> rows, in the columns of the published sets."""
  things = ("apples", "boats", "chairs", "dogs", "eggs", "forks", "goats", "hats", "inks", "jars")
  sums = [(thing, 3 + 2 * i, 5 + 7 * i) for i, thing in enumerate(things)]
  train = [
    {
      "question": f"Ann has {a} {thing} and buys {b} more {thing}. How many {thing}?",
      "answer": f"{a}+{b}\n#### {a + b}",
    }
    for thing, a, b in sums
  ]
  contest = [{"id": str(i), "problem": f"Find ${i}^2 - {i + 2}$.", "answer": str(i * i - i - 2)} for i in range(11, 14)]
  programs, completions = _code_rows(things)
  case = json.dumps([{"input": "2\n", "output": "3\n", "testtype": "stdin"}])
  dated = {"starter_code": "", "public_test_cases": case, "private_test_cases": "", "contest_date": "2024-11-02"}
  dated |= {"question_id": "q1", "question_content": "Add one to the number.", "difficulty": "easy"}
  puzzles = [
    {
      "id": f"c{i}",
      "domain": "puzzle",
      "question": f"Make {i + 9} of {i}, 4, 5.",
      "numbers": [i, 4, 5],
      "target": i + 9,
    }
    for i in range(1, 7)
  ]
  weeks = [
    {"domain": "math", "question": f"How many days are in {n} weeks?", "answer": str(7 * n)} for n in range(2, 12)
  ]
  response = " One and one make two. </think> <answer>\\boxed{2}</answer>"
  return {
    "gsm8k_train.jsonl": train,
    "gsm8k_test.jsonl": train,
    "math.jsonl": contest,
    "math500.jsonl": [row | {"problem": f"Solve $x + {row['id']} = 0$."} for row in contest],
    "aime24.jsonl": [row | {"problem": f"Count the divisors of ${row['id']}!$."} for row in contest],
    "amc23.jsonl": [row | {"problem": f"Which root has $x^2 = {row['id']}$?"} for row in contest],
    "code.jsonl": programs,
    "mbpp.jsonl": programs,
    "humaneval.jsonl": completions,
    "lcb.jsonl": [dated],
    "puzzles.jsonl": puzzles,
    "math_verdicts.jsonl": [{"gold": "5", "answer": "5.0", "right": 1, "n": 7, "source": "model", "math_verify": 1}],
    "questions.jsonl": weeks[:8],
    "heldout.jsonl": weeks[8:],
    "responses.jsonl": [{"id": 1, "domain": "math", "prompt": "1 + 1?", "response": response, "answer": "2"}],
    "texts.jsonl": [{"text": "one and one"}],
  }


def _code_rows(things: tuple[str, ...]) -> tuple[list[dict], list[dict]]:
  """Returns rows in the columns of MBPP and of HumanEval."""
  programs = [
    {
      "task_id": 100 * i,  # MBPP's test split has 11 to 510
      "prompt": f"Write a function that adds {i} to each of the given {thing}.",
      "code": f"def add_{thing}(values):\n  return [value + {i} for value in values]",
      "test_imports": [],
      "test_list": [f"assert add_{thing}([{j}, 1]) == [{j + i}, {1 + i}]" for j in range(3)],
    }
    for i, thing in enumerate(things, 2)
  ]
  completions = [
    {
      "task_id": f"HumanEval/{i}",
      "prompt": f'def times_{i}(x):\n  """Returns {i} times x, for the {thing}."""\n',
      "entry_point": f"times_{i}",
      "canonical_solution": f"  return {i} * x\n",
      "test": f"def check(candidate):\n  assert candidate(2) == {2 * i}\n  assert candidate(5) == {5 * i}\n",
    }
    for i, thing in enumerate(things, 3)
  ]
  return programs, completions
