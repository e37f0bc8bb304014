"""The old README's command lines on the new code, with small stand-ins for data, for tools/side_by_side.py."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sbs_compare import Found, compare_files, compare_json, compare_parquet, compare_rows, rows_of
from sbs_runs import ONE_STEP, STAGED, Tree, launch, unbroken

SETTINGS: dict[str, Any] = {"data": None, "plan": False, "lines": ""}  # of the command line
EVAL_SETS = ("math500", "aime24", "amc23", "mbpp", "humaneval", "livecodebench")
TINY = (
  "--config.rollout.prompts=2 --config.rollout.group=2 --config.rollout.slots=8 --config.rollout.chunk=8 "
  "--config.rollout.max_new_tokens=32 --config.eval.every=0 --config.train.steps=1 --config.log.progress=False "
  "--config.train.micro_batch=2 --config.train.pack_tokens=256 --config.data.max_prompt_tokens=128"
)
ONE_CHIP = f"{TINY} --config.mesh.fsdp=1 --config.mesh.tensor=1"
DEMO_DATA = "--config.data.limit=32 --config.eval.every=0 --config.train.steps=1"
SERVE_S = 300.0  # seconds that a server has to start


@dataclasses.dataclass(frozen=True)
class Line:
  """How a command line of the README is run on stand-ins.

  Attributes:
    pattern: regular expression of the line.
    name: of its results.
    swaps: pairs of a text in the line and its stand-in; {w} is the scratch folder, {d} the folder of data.
    add: more arguments, so that it takes seconds.
    files: that both versions write alike, below {w}; .jsonl but for wall-clock fields, folders by bytes.
    output: standard output is equal.
    status: expected of both; None: the old version's, whatever it is.
  """

  pattern: str
  name: str
  swaps: Sequence[tuple[str, str]] = ()
  add: str = ""
  files: Sequence[str] = ()
  output: bool = False
  status: int | None = 0


LINES = (
  Line(r"make \w+", "make"),
  Line(
    r"python -m srpo_jax\.export --workdir runs/demo", "export",
    [("runs/demo", "{w}/demo"), ("policy/", "{w}/policy")], files=["policy"],
  ),
  Line(
    r"python -m srpo_jax\.launch --config=configs/tiny\.py --workdir=runs/gsm8k", "gsm8k",
    [("runs/gsm8k", "{w}/gsm8k"), ("gsm8k_train.jsonl", "{d}/gsm8k_train.jsonl")], TINY, ["gsm8k/metrics.jsonl"],
  ),
  Line(
    r"python -m srpo_jax\.launch --config=configs/qwen25_05b_gpu\.py", "gpu",
    [("Qwen2.5-0.5B", "{w}/policy"), ("math.jsonl", "{d}/math.jsonl")],
    f"{TINY} --workdir={{w}}/gpu", ["gpu/metrics.jsonl"],
  ),
  Line(
    r"python -m srpo_jax\.doctor --config=configs/qwen25_05b_gpu\.py", "doctor",
    [("...", "{w}/policy")], f"{TINY} --config.data.train={{d}}/math.jsonl --workdir={{w}}/doctor", status=None,
  ),
  Line(
    r"python -m srpo_jax\.logprobs", "logprobs",
    [("policy/", "{w}/policy"), ("texts.jsonl", "{d}/texts.jsonl"), ("out.jsonl", "{w}/out.jsonl")], "", ["out.jsonl"],
  ),
  Line(
    r"python -m srpo_jax\.score --input", "score",
    [("responses.jsonl", "{d}/responses.jsonl"), ("verdicts.jsonl", "{w}/verdicts.jsonl")], "", ["verdicts.jsonl"],
  ),
  Line(
    r"python -m srpo_jax\.report", "report", [("runs/demo", "{w}/demo"), ("runs/other ...", "{w}/other")],
  ),
  Line(
    r"python -m srpo_jax\.evaluate --workdir runs/demo", "evaluate",
    [("runs/demo", "{w}/demo"), ("--data data", "--data {d}")],
    "--samples 2 --limit 2 --max-new-tokens 32 --out {w}/evaluation", ["evaluation"],
  ),
  Line(
    r"python -m srpo_jax\.evaluate --model policy/", "evaluate-model",
    [("policy/", "{w}/policy")],
    "--config configs/tiny.py --data {d} --samples 2 --limit 2 --max-new-tokens 32 --config.sandbox.limit_s=6 "
    "--out {w}/evaluation-model", ["evaluation-model"],
  ),
  Line(
    r"python -m srpo_jax\.replay", "replay", [("runs/demo", "{w}/demo"), ("--step 100", "--step 20")], output=True,
  ),
  Line(r"python -m srpo_jax\.serve", "serve", [("runs/demo", "{w}/demo")], "--max-new-tokens 256"),
  Line(r"curl localhost:8000/v1/completions", "curl"),
  Line(
    r"python -m srpo_jax\.launch --config=configs/stage1\.py", "stage1",
    [("runs/stage1", "{w}/stage1"), ("Qwen2.5-32B", "{w}/policy"), ("math.jsonl", "{d}/math.jsonl")],
    ONE_CHIP, ["stage1/metrics.jsonl"],
  ),
  Line(
    r"python -m srpo_jax\.launch --config=configs/stage2\.py", "stage2",
    [("runs/stage", "{w}/stage"), ("math.jsonl,code.jsonl", "{d}/math.jsonl,{d}/code.jsonl")],
    f"{ONE_CHIP.replace('steps=1', 'steps=2')} --config.stages.stage2.restore_retired=True", ["stage2/metrics.jsonl"],
  ),
  Line(r"python -m srpo_jax\.plan", "plan", [("--topology=v5p", "--topology=/no-such-place")], status=2),
  Line(
    r"python -m srpo_jax\.curate --config", "curate",
    [("data/curated", "{w}/curated"), ("=gsm8k_train.jsonl", "={d}/gsm8k_train.jsonl"),
     ("google-research-datasets/mbpp", "{d}/mbpp_train.jsonl")],
    " ".join(f"--config.eval_sets.{name}.path=none" for name in EVAL_SETS), ["curated/records"], output=True,
  ),
  Line(
    r"python -m srpo_jax\.curate label", "label",
    [("Qwen2.5-32B", "{w}/policy"), ("data/curated", "{w}/curated"), ("data/labelled", "{w}/labelled")],
    "--samples 2 --max-new-tokens 32 --config configs/tiny.py", ["labelled"],
  ),
  Line(r"--config\.reward\.function=", "reward", [], f"{DEMO_DATA} --workdir={{w}}/reward", ["reward/metrics.jsonl"]),
  Line(
    r"--config\.advantage\.function=", "advantage", [], f"{DEMO_DATA} --workdir={{w}}/advantage",
    ["advantage/metrics.jsonl"],
  ),
  Line(
    r"--config\.data\.train=my_data", "source", [], f"{DEMO_DATA} --workdir={{w}}/source", ["source/metrics.jsonl"],
  ),
)  # fmt: skip
# Of the README's prose.
PROSE = (
  "python -m srpo_jax.score --explain --input {d}/code.jsonl",
  f"python {shlex.join(launch(Path('{w}/controls'), *ONE_STEP))} --config.history.mode=none --config.loss.updates=4 "
  "--config.advantage.scale=none --config.history.dynamic_sampling=True",
)


def shell_lines(text: str) -> list[str]:
  """The indented commands of a README, continuation lines joined, comments and brackets of options left out."""
  joined = re.sub(r"\\\n\s*", " ", text)
  found = re.findall(r"^    ((?:python|make|curl|--config\.)[^\n]*)$", joined, re.MULTILINE)
  return [re.sub(r"\s+# .*| [#] .*", "", line).replace("[", "").replace("]", "").strip() for line in found]


def examples(text: str, folder: Path) -> None:
  """Writes the README's examples of a user's own modules into a folder."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, code in re.findall(r"<!-- example: (\w+\.py) -->\n```python\n(.*?)```", text, re.DOTALL):
    (folder / name).write_text(code)


def write_rows(file: Path, rows: Sequence[Any]) -> None:
  file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_data(folder: Path, real: Path) -> None:
  """Small stand-ins for the files that the README names. The rows are the shortest of real sets."""
  if folder.exists():
    return
  if not real.is_dir():
    raise RuntimeError(f"{real}: no such folder, expected the real data sets (--data)")
  partial = folder.with_name(folder.name + ".partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  for file in real.glob("*.jsonl"):
    (partial / file.name).symlink_to(file)
  shortest = {name: sorted(rows_of(real / f"{name}.jsonl"), key=lambda row: len(json.dumps(row)))[:12]
              for name in ("gsm8k_train", "math500", "mbpp")}  # fmt: skip
  (partial / "gsm8k_train.jsonl").unlink()
  write_rows(partial / "gsm8k_train.jsonl", shortest["gsm8k_train"])
  write_rows(partial / "math.jsonl", shortest["math500"])
  write_rows(partial / "code.jsonl", shortest["mbpp"])
  write_rows(partial / "mbpp_train.jsonl", [row | {"text": row["prompt"]} for row in shortest["mbpp"]])
  cases = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
  contest = {"question_content": "Add one.", "starter_code": "", "public_test_cases": cases, "difficulty": "easy"}
  days = ("2024-11-01", "2024-12-01", "2020-01-01")
  write_rows(partial / "lcb.jsonl", [contest | {"question_id": day, "contest_date": day} for day in days])
  write_rows(partial / "texts.jsonl", [{"id": 1, "text": "1 + 1 = 2"}, {"prompt": "What is", "response": " 3 - 2?"}])
  right = "<think>easy.</think><answer>\\boxed{4}</answer>"
  program = "<think>easy.</think><answer>\n```python\ndef f(x):\n  return x + 1\n```\n</answer>"
  math = {"id": "m", "prompt": "2 + 2?", "domain": "math", "answer": "4"}
  tests = {"type": "function", "entry_point": "f", "cases": [{"args": [1], "expected": 2}]}
  code = {"id": "c", "prompt": "Add one.", "domain": "code", "tests": tests}
  answers = [math | {"response": right}, math | {"response": "5"}, code | {"response": program}]
  write_rows(partial / "responses.jsonl", answers)
  partial.rename(folder)


def check(before: Tree, after: Tree, found: Found) -> None:
  """Runs every shell line of the old README with both versions."""
  text, data = (before.root / "README.md").read_text(), before.out.parent / "data"
  make_data(data, SETTINGS["data"])
  examples(text, before.out.parent / "modules")
  source = unbroken(before, "staged")
  for tree in (before, after):
    scratch = tree.fresh("readme")
    for name in ("demo", "other"):
      if not (scratch / name).exists():
        shutil.copytree(source, scratch / name)
  lines = [(line, next((way for way in LINES if re.match(way.pattern, line)), None)) for line in shell_lines(text)]
  lines += [(line, Line(re.escape(line), f"prose-{number}", output=True)) for number, line in enumerate(PROSE)]
  lines.sort(key=lambda pair: pair[1] is not None and LINES.index(pair[1]) if pair[1] in LINES else len(LINES))
  for line, way in lines:
    if way is None:
      found.differ(f"no stand-in for: {line}")
    elif way.name == "make":
      check_make(line, after, found)
    elif re.search(SETTINGS["lines"], line) or way.name == "export":
      run_line(line, way, (before, after), found)
  for target in ("install", "demo-seeds", "study", "check", "test-slow", "bench"):
    check_make(f"make {target}", after, found)


def check_make(line: str, after: Tree, found: Found) -> None:
  """`make -n`: the target is there. What it runs is the demo's check, and the tests' own."""
  done = subprocess.run([*shlex.split(line), "-n"], cwd=after.root, capture_output=True, text=True)
  if done.returncode:
    found.differ(f"{line}: make -n failed: {done.stderr.strip()[-200:]}")
  if line == "make demo" and not re.search(r"srpo_jax\.launch --config=\S*tiny\.py:staged", done.stdout):
    found.differ(f"{line}: does not run configs/tiny.py:staged")
  found.count("targets of make")


def arguments(line: str, way: Line, tree: Tree) -> list[str]:
  """The line's arguments of python on this tree's stand-ins."""
  for old, new in way.swaps:
    line = line.replace(old, new)
  if line.startswith("--config."):
    line = f"python {shlex.join(('-m', 'srpo_jax.launch', STAGED))} {line}"
    line = line.replace(":staged", ":math")
  if way.name == "plan" and SETTINGS["plan"]:
    line, way = line.replace("/no-such-place", "v5p").replace(" --search", ""), dataclasses.replace(way, status=0)
  line = f"{line} {way.add}".replace("{w}", str(tree.out / "readme")).replace("{d}", str(tree.out.parent / "data"))
  return shlex.split(line)[1:]


def run_line(line: str, way: Line, trees: tuple[Tree, Tree], found: Found) -> None:
  """Runs a line with both versions and compares what it leaves."""
  if way.name == "curl":
    return  # sent to the server of the line before it
  name = f"readme-{way.name}"
  if way.name == "serve":
    curl = next(other for other in shell_lines((trees[0].root / "README.md").read_text()) if other.startswith("curl"))
    return check_serve(line, way, curl, trees, found)
  modules = trees[0].out.parent / "modules"
  statuses = [tree.run(name, arguments(line, way, tree), modules=modules) for tree in trees]
  expected = 0 if way.name == "plan" and SETTINGS["plan"] else way.status
  if statuses[0] != statuses[1] or expected not in (None, statuses[0]):
    found.differ(f"{line}: exit status {statuses[0]} before, {statuses[1]} after: {trees[1].last_line(name)}")
  texts = [tree.text(name).replace(str(tree.out), "OUT") for tree in trees]
  if way.output and texts[0] != texts[1]:
    found.differ(f"{line}: output differs: {trees[0].file(name, 'txt')} and {trees[1].file(name, 'txt')}")
  for file in way.files:
    compare_results(found, *(tree.out / "readme" / file for tree in trees))
  if way.name == "report" and not (trees[1].out / "readme/demo/report.html").is_file():
    found.differ(f"{line}: no report.html")
  found.count("commands of the README")


def compare_results(found: Found, before: Path, after: Path) -> None:
  """Compares a file or folder that a command has written, by what its name says that it is.

  Files may name the scratch folder, which differs.
  """

  def bytes_of(file: Path) -> bytes:
    scratch = next(folder for folder in file.parents if folder.name == "readme")
    return file.read_bytes().replace(str(scratch).encode(), b"SCRATCH")

  def compare(found: Found, old: Path, new: Path, name: str) -> None:
    if name.endswith(".jsonl"):
      compare_rows(found, old, new)
    elif name.endswith(".json"):
      compare_json(found, name, json.loads(bytes_of(old)), json.loads(bytes_of(new)))
    elif name.endswith(".parquet"):
      compare_parquet(found, old, new, name)
    elif not name.endswith(".md") and bytes_of(old) != bytes_of(new):  # Markdown is prose, which is rewritten
      found.differ(f"{name}: bytes differ")

  if before.is_dir():
    compare_files(found, before, after, "**/*", compare)
  elif not (before.is_file() and after.is_file()):
    found.differ(f"{after}: not written by both versions")
  else:
    compare(found, before, after, before.name)


def free_ports() -> int:
  """A port that is free with the one after it."""
  while True:
    with socket.socket() as first, socket.socket() as second:
      first.bind(("127.0.0.1", 0))
      try:
        second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        return int(first.getsockname()[1])
      except OSError:
        continue


def check_serve(line: str, way: Line, curl: str, trees: tuple[Tree, Tree], found: Found) -> None:
  """Starts the server, sends the README's request, and ends it by SIGTERM. The answers are equal."""
  body = shlex.split(curl)[-1].replace("...", "1 + 1").encode()
  answers = []
  for tree in trees:
    kept = tree.file("readme-curl", "txt")
    if not (tree.is_done("readme-serve") and kept.exists()):
      kept.unlink(missing_ok=True)
      status, answer = served(line, way, tree, body)
      kept.write_text(re.sub(r'"(id|created)": ?("[^"]*"|\d+)', r'"\1": 0', answer))
      tree.file("readme-serve", "rc").write_text(f"{status}\n")
    if int(tree.file("readme-serve", "rc").read_text()) or not kept.read_text().startswith("data: "):
      found.differ(f"{line}: {tree.root}: failed: {kept.read_text()[:200]} {tree.last_line('readme-serve')}")
    answers.append(kept.read_text())
  if answers[0] != answers[1]:
    found.differ(f"{curl}: answers differ: {answers[0][:200]!r} before, {answers[1][:200]!r} after")
  found.count("commands of the README", 2)
  found.count("bytes of the server's answer", len(answers[0]))


def served(line: str, way: Line, tree: Tree, body: bytes) -> tuple[int, str]:
  """(exit status of the server, its answer)"""
  port = free_ports()
  args = arguments(line, dataclasses.replace(way, swaps=[*way.swaps, ("8000", str(port))]), tree)
  args = [arg for arg in args if arg not in ("--model", "DIR")]
  process, ends, answer = tree.start("readme-serve", args), time.monotonic() + SERVE_S, ""
  try:
    while not answer and process.poll() is None and time.monotonic() < ends:
      try:
        request = urllib.request.Request(f"http://localhost:{port}/v1/completions", data=body)
        with urllib.request.urlopen(request, timeout=SERVE_S) as response:
          answer = response.read().decode()
      except urllib.error.HTTPError as error:  # an answer too, which the check refuses
        answer = f"HTTP {error.code} {error.read().decode()}"
      except OSError:
        time.sleep(0.5)
  finally:
    if process.poll() is None:
      os.kill(process.pid, signal.SIGTERM)  # `nice` has become the interpreter
  return process.wait(), answer
