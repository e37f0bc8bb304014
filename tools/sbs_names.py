"""Old names on the new code: modules, config fields, flags and config.json files, for tools/side_by_side.py."""

import json
import re
import shlex
import shutil
from pathlib import Path

from sbs_compare import Found, compare_rows, leaves
from sbs_runs import KILLS, ONE_STEP, SMALL, STAGED, Tree, launch, unbroken

MODULES = ("--config.model.build=srpo_jax.training.warmup:tiny_base",)
SETS = (
  "--config.data.train=srpo_jax.data.toy.arithmetic:train_problems,srpo_jax.data.toy.programs:train_programs",
  "--config.data.eval=srpo_jax.data.toy.arithmetic:heldout_problems,srpo_jax.data.toy.programs:heldout_programs",
)
FIELDS = ("--config.reward.limit_s=3.25", "--config.reward.mix_weight=0.07", "--config.sandbox.limit_s=5.25")
FIELD_VALUES = {"reward": {3.25, 0.07}, "sandbox": {5.25}}
# name -> overrides of one step of training. Each may log one line about its old names.
OVERRIDES = {
  "build": MODULES,
  "sets": (*SETS, "--config.eval.every=1", "--config.data.eval_limit=8", "--config.eval.samples=1"),
  "reward-limit": FIELDS[:1],
  "mix-weight": FIELDS[1:2],
  "sandbox-limit": FIELDS[2:],
  "all": (*MODULES, *SETS, *FIELDS),
}
OLD = re.compile(
  r"srpo_jax\.warmup|srpo_jax\.data\.synthetic|limit_s|limit-s|mix_weight|--output|--out\b|--hosts?\b|deprecat|old name"
)

GONE = "/no-such-place"
POLICY = f"--sets gsm8k --data {GONE} --samples 2 --temperature 0.5 --top-p 0.9 --max-new-tokens 8 --limit 1 --seed 1"
# Every flag that the old commands have, with an input that is not there: all ends with the line about the input.
FLAGS = {
  "launch": f"launch {STAGED} --workdir={GONE}/run --coordinator=localhost:1 --num_processes=1 --process_id=9",
  "launch-data": f"launch {STAGED} --workdir={{w}}/run --config.data.train={GONE}.jsonl {' '.join(FIELDS)}",
  "export": f"export --workdir {GONE} --step 1 --out {{w}}/policy --dtype float32 --max-shard-gb 1",
  "evaluate": f"evaluate --workdir {GONE} --step 1 {POLICY} --max-prompt-tokens 64 --from 2024-10-01 --to 2025-02-01 "
  "--out {w}/evaluation --batch-problems 1 --config.sandbox.limit_s=6 --config.reward.limit_s=6",
  "evaluate-model": f"evaluate --model {GONE} --config configs/tiny.py {POLICY} --config.sandbox.limit_s=6",
  "label": f"label --input {GONE}.jsonl --output {{w}}/labelled --model {GONE} --samples 2 --temperature 1 "
  "--max-new-tokens 8 --seed 0 --config configs/base.py --format auto --version 1.0.0 --batch-rows 2 --host 0 "
  "--hosts 2 --config.reward.limit_s=3",
  "curate-label": f"curate label --input {GONE}.jsonl --output {{w}}/labelled --host 0 --hosts 2 --merge",
  "logprobs": f"logprobs --model {GONE} --input {GONE}.jsonl --output {{w}}/out.jsonl",
  "replay": f"replay --workdir {GONE} --step 1 --no-loss --config.reward.mix_weight=0.2",
  "report": f"report --workdir {GONE} --compare {GONE}-a {GONE}-b --out {{w}}/report.html --max-prompts 5 --max-mb 3",
  "score": f"score --input {GONE}.jsonl --output {{w}}/verdicts.jsonl --strict --validator tags --limit-s 3 "
  "--workers 1 --min-tier landlock --packages numpy",
  "score-explain": f"score --explain --input {GONE}.jsonl",
  "serve": f"serve --workdir {GONE} --step 1 --port 0 --grpc-port 0 --host 127.0.0.1 --name toy --slots 2 --queue 4 "
  "--max-prompt-tokens 64 --max-new-tokens 8 --temperature 0.5 --top-p 0.9 --drain-s 1 --config.reward.limit_s=3",
  "serve-model": f"serve --model {GONE} --config configs/tiny.py --port 0",
  "doctor": f"doctor {STAGED} --workdir={GONE}/run --config.data.train={GONE}.jsonl --config.sandbox.limit_s=6",
  "plan": f"plan --config=configs/stage1.py --topology={GONE}:1 --json={{w}}/plan.json --mean-length=9 "
  "--length-sigma=0.5 --prompt-length=9 --search --config.reward.limit_s=3",
  "curate": f"curate --config=configs/curate.py --config.output={{w}}/curated --config.verify.limit_s=3 "
  f"--config.sources.gsm8k.path={GONE}.jsonl",
  "study": f"analysis.study --runs {GONE} --out {{w}}/study",
}
SPELLINGS = ("--out", "--output")


def check(before: Tree, after: Tree, found: Found) -> None:
  check_overrides(before, after, found)
  check_config_json(before, after, found)
  check_flags(before, after, found)
  check_spellings(before, after, found)


def count_old(tree: Tree, name: str) -> int:
  """Lines of the log that speak of an old name. Lines that list the command line itself are not told apart."""
  return sum(bool(OLD.search(line)) for line in tree.text(name, "log").splitlines())


def check_one_line(before: Tree, after: Tree, found: Found, name: str) -> None:
  """Old names may add one line to the log."""
  added = count_old(after, name) - count_old(before, name)
  if added > 1:
    found.differ(f"{name}: {added} more log lines about old names, expected one at most")
  found.count("lines about old names", max(added, 0))


def check_overrides(before: Tree, after: Tree, found: Found) -> None:
  """Old module names and old fields as overrides of one step of training, and the step's figures."""
  for name, overrides in OVERRIDES.items():
    name = f"names-{name}"
    statuses = [tree.run(name, launch(tree.fresh(name), *ONE_STEP, *overrides)) for tree in (before, after)]
    if statuses[0] or statuses[1]:
      found.differ(f"{name}: exit status {statuses[0]} before, {statuses[1]} after: {after.last_line(name)}")
      continue
    compare_rows(found, before.out / name / "metrics.jsonl", after.out / name / "metrics.jsonl")
    compare_rows(found, before.out / name / "eval.jsonl", after.out / name / "eval.jsonl")
    check_one_line(before, after, found, name)
  for section, values in FIELD_VALUES.items():
    kept = {str(v) for v in leaves(json.loads((after.out / "names-all/config.json").read_text())[section]).values()}
    if missing := {str(value) for value in values} - kept:
      found.differ(f"names-all/config.json: {section}: no field has the value {', '.join(missing)}")
  found.count("runs with old names", len(OVERRIDES))


def check_config_json(before: Tree, after: Tree, found: Found) -> None:
  """A config.json of the old code as it stands: its last step is replayed, and the finished run is opened again."""
  source = unbroken(before, "staged")
  old = (source / "config.json").read_bytes()
  commands: dict[str, list[str]] = {}
  for tree in (before, after):
    workdir = tree.fresh("names-workdir")
    if not workdir.exists():
      shutil.copytree(source, workdir)
    replay = ["-m", "srpo_jax.replay", "--workdir", str(workdir), "--step", "21", "--no-loss"]
    commands = {
      "names-replay": replay,
      "names-replay-set": [*replay, *FIELDS[:1]],
      "names-resume": launch(workdir, *SMALL, *KILLS["staged"][0]),
    }
    for name, args in commands.items():
      if tree.run(name, args):
        found.differ(f"{name}: {tree.root}: failed: {tree.last_line(name)}")
      if name != "names-resume" and (workdir / "config.json").read_bytes() != old:
        found.differ(f"{name}: {tree.root}: config.json was changed by a command that only reads")
  for name in commands:
    check_one_line(before, after, found, name)
    if name != "names-resume" and before.text(name) != after.text(name):
      found.differ(f"{name}: output differs: {before.file(name, 'txt')} and {after.file(name, 'txt')}")
  found.count("commands on an old config.json", len(commands))


def command(text: str, folder: Path) -> list[str]:
  """`COMMAND ARGS` -> the arguments of python."""
  name, *args = shlex.split(text.replace("{w}", str(folder)))
  return ["-m", f"srpo_jax.{name}", *args]


def error_of(tree: Tree, name: str) -> str:
  """The last line of the log, without this tree's own folders."""
  return tree.last_line(name).replace(str(tree.out), "OUT").replace(str(tree.root), "ROOT")


def check_flags(before: Tree, after: Tree, found: Found) -> None:
  """Every flag of the old commands parses: the error that follows is that of an input that is missing."""
  worded = 0
  for name, text in FLAGS.items():
    name = f"flags-{name}"
    statuses = [tree.run(name, command(text, tree.out)) for tree in (before, after)]
    old, new = error_of(before, name), error_of(after, name)
    if statuses[0] != statuses[1] or (GONE in old) != (GONE in new):
      found.differ(f"{name}: exit status {statuses[0]} before, {statuses[1]} after: {old!r} before, {new!r} after")
    worded += old != new
    check_one_line(before, after, found, name)
  found.count("command lines with every flag", len(FLAGS))
  found.count("errors in other words", worded)


def check_spellings(before: Tree, after: Tree, found: Found) -> None:
  """--out and --output: what the old command accepted, the new one does. Says how many more it accepts."""
  more = 0
  for base in ("export", "evaluate", "label", "logprobs", "report", "score", "study"):
    for spelling in SPELLINGS:
      name = f"spelling-{base}{spelling}"
      args = [re.sub(r"^--out(put)?$", spelling, arg) for arg in command(FLAGS[base], before.out)]
      for tree in (before, after):
        tree.run(name, args)
      accepted = [GONE in error_of(tree, name) for tree in (before, after)]
      if accepted[0] and not accepted[1]:
        found.differ(f"{name}: no longer accepted: {error_of(after, name)!r}")
      more += accepted[1] and not accepted[0]
      check_one_line(before, after, found, name)
  found.count("spellings accepted only after", more)
