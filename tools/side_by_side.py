"""Runs two versions of the code side by side and compares what they write, bit for bit.

    python tools/side_by_side.py --before DIR --after DIR --out DIR [--only demo,three,staged,packed,names,readme,base]

Prints a line a check with pass or FAIL and its figures, then the differences. Exits with 1 where anything differs.
Results of the old version are kept in OUT/before and made once. Those of the new version are made anew in OUT/after.
This script is deleted when the change of layout is complete.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sbs_names
import sbs_readme
from sbs_compare import Found, compare_bytes, compare_files, compare_runs, compare_tables
from sbs_runs import KILLS, ONE_STEP, SMALL, Tree, killed, launch, share_base, unbroken

SHOWN = 20  # differences that are printed for each check


def check_demo(before: Tree, after: Tree, found: Found) -> None:
  """The run of `make demo`: its tables, and all of its files."""
  for tree in (before, after):
    if tree.run("demo", launch(tree.fresh("demo"))):
      found.differ(f"{tree.root}: the demo failed: {tree.last_line('demo')}")
      return
  compare_tables(found, before.text("demo"), after.text("demo"))
  compare_runs(found, before.out / "demo", after.out / "demo")


def check_three(before: Tree, after: Tree, found: Found) -> None:
  """Three steps of configs/tiny.py:staged as it stands, with a checkpoint of each."""
  each = ("--config.train.steps=3", "--config.checkpoint.every=1", "--config.checkpoint.keep=4")
  for tree in (before, after):
    if tree.run("three", launch(tree.fresh("three"), *each, "--config.eval.every=0")):
      found.differ(f"{tree.root}: the run failed: {tree.last_line('three')}")
      return
  compare_runs(found, before.out / "three", after.out / "three")


def check_killed(name: str) -> Callable[[Tree, Tree, Found], None]:
  """A check that the new version finishes a killed run of the old one as the old one ends unbroken."""

  def check(before: Tree, after: Tree, found: Found) -> None:
    whole = unbroken(before, name)
    broken, recorded = killed(before, name)
    if after is before:
      return
    workdir = after.fresh(name)
    shutil.copytree(broken, workdir)
    if after.run(name, launch(workdir, *SMALL, *KILLS[name][0])):
      found.differ(f"{after.root}: the run failed: {after.last_line(name)}")
      return
    found.count("steps recorded before the kill", recorded)
    compare_tables(found, before.text(name), after.text(name))
    compare_runs(found, whole, workdir)

  return check


def check_base(before: Tree, after: Tree, found: Found) -> None:
  """The tiny base, made anew: its name may differ, its files may not."""
  folders = []
  for tree in (before, after):
    cache = tree.fresh("base-cache")
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "xla").exists():
      (tree.cache / "xla").mkdir(parents=True, exist_ok=True)
      (cache / "xla").symlink_to(tree.cache / "xla")
    if tree.run("base", launch(tree.fresh("base"), *ONE_STEP), cache=cache):
      found.differ(f"{tree.root}: the run failed: {tree.last_line('base')}")
      return
    made = sorted(folder for folder in cache.glob("tiny-base-*") if "." not in folder.name)  # others are unfinished
    if len(made) != 1:
      found.differ(f"{cache}: {len(made)} bases, expected one")
      return
    folders += made
  compare_files(found, *folders, "*", compare_bytes)


CHECKS: dict[str, Callable[[Tree, Tree, Found], None]] = {
  "three": check_three,
  "staged": check_killed("staged"),
  "packed": check_killed("packed"),
  "names": sbs_names.check,
  "readme": sbs_readme.check,
  "demo": check_demo,
  "base": check_base,
}


def options_of(args: list[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--before", type=Path, required=True, help="Checkout of the old version.")
  parser.add_argument("--after", type=Path, required=True, help="Checkout of the new version.")
  parser.add_argument("--out", type=Path, required=True, help="Folder of all results.")
  parser.add_argument("--python", type=Path, default=Path(sys.executable), help="Interpreter of both versions.")
  parser.add_argument("--label", default="after", help="Name of the new version's folder in OUT.")
  parser.add_argument("--data", type=Path, help="Folder of real data sets, default BEFORE/../shared/data.")
  parser.add_argument("--only", default=",".join(CHECKS), help=f"Checks to run, from {','.join(CHECKS)}.")
  parser.add_argument("--plan", action="store_true", help="Compile the README's plan, instead of parsing its flags.")
  parser.add_argument("--lines", default="", help="Regular expression of the README's commands to run.")
  parser.add_argument("--baselines", action="store_true", help="Make the old version's results only.")
  parser.add_argument(
    "--share-base", action="store_true", help="Give the old version's base to the new one. Check base holds them equal."
  )
  options = parser.parse_args(args)
  unknown = set(options.only.split(",")) - CHECKS.keys()
  if unknown:
    parser.error(f"--only: unknown: {', '.join(sorted(unknown))}")
  return options


def main() -> int:
  options = options_of(sys.argv[1:])
  out, python = options.out.absolute(), options.python.absolute()
  before = Tree(options.before.absolute(), out / "before", python, out / "cache", reuse=True)
  after = Tree(options.after.absolute(), out / options.label, python, out / "cache", reuse=False)
  after = before if options.baselines else after
  sbs_readme.SETTINGS.update(
    data=(options.data or options.before / "../shared/data").absolute(), plan=options.plan, lines=options.lines
  )
  if options.share_base:
    print(share_base(before, after), flush=True)
  failed = []
  for name in options.only.split(","):
    found, started = Found(), time.monotonic()
    try:
      CHECKS[name](before, after, found)
    except RuntimeError as error:
      found.differ(str(error))
    seconds = time.monotonic() - started
    print(f"{'FAIL' if found.differences else 'pass'}  {name:7}  {seconds:6.0f} s  {found.figures()}", flush=True)
    for line in found.differences[:SHOWN]:
      print(f"      {line}", flush=True)
    if len(found.differences) > SHOWN:
      print(f"      and {len(found.differences) - SHOWN} more", flush=True)
    failed += [name] if found.differences else []
  print(f"{'FAIL: ' + ', '.join(failed) if failed else 'all pass'}")
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
