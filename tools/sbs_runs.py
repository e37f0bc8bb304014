"""Processes of one version of the code, for tools/side_by_side.py."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from sbs_compare import checkpoint_steps, rows_of

LAUNCH = ("-m", "srpo_jax.launch")
STAGED = "--config=configs/tiny.py:staged"
NICE = 10
POLL_S = 0.02


@dataclasses.dataclass(frozen=True)
class Tree:
  """A checkout, the folder of what it makes, and the interpreter that runs it.

  Attributes:
    reuse: results that are complete stand. The old code's never change.
  """

  root: Path
  out: Path
  python: Path
  cache: Path
  reuse: bool

  def environment(self, cache: Path | None = None, modules: Path | None = None) -> dict[str, str]:
    path = [str(self.root), *([str(modules)] if modules else [])]
    own = {"PYTHONPATH": os.pathsep.join(path), "SRPO_CACHE": str(cache or self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
    return os.environ | own | {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}

  def start(
    self, name: str, args: Sequence[str], cache: Path | None = None, modules: Path | None = None
  ) -> subprocess.Popen[bytes]:
    """Starts `python ARGS` in a process group of its own, with its output in NAME.txt and NAME.log."""
    self.out.mkdir(parents=True, exist_ok=True)
    with self.file(name, "txt").open("wb") as out, self.file(name, "log").open("wb") as log:
      return subprocess.Popen(
        ["nice", "-n", str(NICE), str(self.python), *args],
        cwd=self.root,
        env=self.environment(cache, modules),
        stdout=out,
        stderr=log,
        start_new_session=True,
      )

  def run(self, name: str, args: Sequence[str], cache: Path | None = None, modules: Path | None = None) -> int:
    """Runs `python ARGS` and returns its exit status, or that of the earlier run where this tree's results stand.

    Raises RuntimeError where results stand that other arguments have made.
    """
    status, made_by = self.file(name, "rc"), self.file(name, "args")
    if self.reuse and status.exists():
      if made_by.exists() and json.loads(made_by.read_text()) != list(args):
        raise RuntimeError(f"{status}: made by other arguments ({made_by}), remove {self.out / name}*")
      return int(status.read_text())
    status.unlink(missing_ok=True)
    code = self.start(name, args, cache, modules).wait()
    made_by.write_text(json.dumps(list(args)))
    status.write_text(f"{code}\n")
    return code

  def file(self, name: str, suffix: str) -> Path:
    return self.out / f"{name}.{suffix}"

  def text(self, name: str, suffix: str = "txt") -> str:
    return self.file(name, suffix).read_text(errors="replace").replace("\r", "\n")

  def is_done(self, name: str) -> bool:
    return self.reuse and self.file(name, "rc").exists()

  def fresh(self, name: str) -> Path:
    """The folder NAME, empty unless this tree's results stand."""
    if not self.reuse:
      shutil.rmtree(self.out / name, ignore_errors=True)
    return self.out / name

  def last_line(self, name: str) -> str:
    lines = [line for line in self.text(name, "log").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"

  def run_killed(self, name: str, args: Sequence[str], workdir: Path, *, checkpoint: int, rows: int) -> int:
    """Runs a training, and kills it by SIGKILL once a checkpoint is whole and `rows` steps are recorded.

    Returns the number of steps that were recorded when it died.
    """
    if not self.is_done(name):
      shutil.rmtree(workdir, ignore_errors=True)
      process = self.start(name, args)
      while process.poll() is None:
        if checkpoint in checkpoint_steps(workdir) and len(lines_of(workdir)) >= rows:
          os.killpg(process.pid, signal.SIGKILL)
          break
        time.sleep(POLL_S)
      self.file(name, "rc").write_text(f"{process.wait()}\n")
    return len(lines_of(workdir))


def lines_of(workdir: Path) -> list[bytes]:
  """The whole lines of a run's metrics.jsonl. A line that is being written is left out."""
  file = workdir / "metrics.jsonl"
  return [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if file.exists() else []


# A run of about a minute: stage 2 begins at step 8, epochs end in both stages, and held-out sets are evaluated.
SMALL = (
  "--config.rollout.prompts=8",
  "--config.rollout.group=8",
  "--config.rollout.slots=64",
  "--config.data.limit=32",
  "--config.data.eval_limit=24",
  "--config.eval.every=6",
  "--config.eval.samples=2",
  "--config.checkpoint.every=5",
  "--config.stages.stage1.steps=8",
  "--config.stages.stage2.ramp=4",
  "--config.train.steps=22",
  "--config.log.every=1",
  "--config.log.progress=False",
)
PACKED = ("--config.train.pack_tokens=256", "--config.data.max_prompt_tokens=128", "--config.train.micro_batch=4")
ONE_STEP = (
  *SMALL[:5],
  "--config.eval.every=0",
  "--config.train.steps=1",
  "--config.log.progress=False",
)
KILLS = {  # name -> (more overrides, checkpoint that is whole, steps that are recorded)
  "staged": ((), 10, 13),  # in stage 2, after the first epoch
  "packed": (PACKED, 5, 7),  # in stage 1, before code comes in
}


def launch(workdir: Path, *overrides: str) -> list[str]:
  return [*LAUNCH, STAGED, f"--workdir={workdir}", *overrides]


def share_base(before: Tree, after: Tree) -> str:
  """Puts the old version's base where the new one looks for its own, so that it need not be made again.

  The name of a base depends on the sources. The new version is started until it has begun to make its own, which
  tells the name, and killed. Returns what was done.
  """
  (base,) = (folder for folder in before.cache.glob("tiny-base-*") if folder.name == base_name(before))
  name = base_name(after)
  if not (after.cache / name).exists():
    shutil.copytree(base, after.cache / name)
  return f"{name}: {'its own name' if name != base.name else 'the same name'}, {base.name}'s files"


def base_name(tree: Tree) -> str:
  """The name that a version gives to its base. Raises RuntimeError where none is made."""
  kept, cache = tree.file("base-name", "txt"), tree.fresh("base-name-cache")
  if tree.reuse and kept.exists():
    return kept.read_text()
  process = tree.start("base-name-run", launch(tree.fresh("base-name-run"), *ONE_STEP), cache=cache)
  while process.poll() is None and not any(cache.glob("tiny-base-*")):
    time.sleep(POLL_S)
  names = [folder.name.partition(".")[0] for folder in cache.glob("tiny-base-*")]
  if process.poll() is None:
    os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  if not names:
    raise RuntimeError(f"{tree.root}: makes no base: {tree.last_line('base-name-run')}")
  kept.write_text(names[0])
  return names[0]


def unbroken(tree: Tree, name: str) -> Path:
  """The workdir of a small run that nothing has killed. Raises RuntimeError where it fails."""
  workdir = tree.fresh(name)
  if tree.run(name, launch(workdir, *SMALL, *KILLS[name][0])):
    raise RuntimeError(f"{workdir}: the run failed: {tree.last_line(name)}")
  return workdir


def killed(tree: Tree, name: str) -> tuple[Path, int]:
  """The workdir of the same run killed midway, and the steps recorded there. Raises RuntimeError if it was not."""
  overrides, checkpoint, rows = KILLS[name]
  workdir = tree.out / f"{name}-killed"
  recorded = tree.run_killed(
    f"{name}-killed", launch(workdir, *SMALL, *overrides), workdir, checkpoint=checkpoint, rows=rows
  )
  status = int(tree.file(f"{name}-killed", "rc").read_text())
  if status != -signal.SIGKILL or recorded >= len(rows_of(tree.out / name / "metrics.jsonl")):
    raise RuntimeError(f"{workdir}: not killed midway: exit status {status}, {recorded} steps recorded")
  return workdir, recorded
