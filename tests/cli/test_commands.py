"""Flags and --help of every command, old spellings of flags, and the dispatcher."""

import argparse
import importlib
import json
import os
import subprocess
import sys

import pytest

from srpo_jax.cli import flags
from srpo_jax.cli.main import COMMANDS, dispatch, usage
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.utils import renamed
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT

# Command lines whose --help is tested.
LINES = [*([command] for command in COMMANDS), ["curate", "label"]]

# Prints the help of each command line in argv[1] as JSON, in a process that cannot import heavy packages.
HELP = """
import contextlib, importlib, io, json, sys

class Refuse:
  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] in ("jax", "jaxlib", "tensorflow", "torch", "transformers", "jetstream"):
      raise AssertionError(f"--help imports {name}")

sys.meta_path.insert(0, Refuse())
texts = {}
for command, *rest in json.loads(sys.argv[1]):
  with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    importlib.import_module(f"srpo_jax.{command}").main([*rest, "--help"])
  texts[" ".join([command, *rest])] = out.getvalue()
print(json.dumps(texts))
"""


class Seen(Exception):
  """Carries a command's parser to the test."""


def parser_of(line, monkeypatch) -> argparse.ArgumentParser:
  def raise_parser(self, args=None, namespace=None):
    raise Seen(self)

  with monkeypatch.context() as patched:
    patched.setattr(ArgumentParser, "parse_known_args", raise_parser)
    with pytest.raises(Seen) as seen:
      dispatch(line)
  return seen.value.args[0]


@pytest.fixture(scope="module")
def texts():
  command = [sys.executable, "-c", HELP, json.dumps(LINES)]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_help_lists_every_flag_with_its_default_and_imports_nothing_heavy(line, texts, monkeypatch):
  text = " ".join(texts[" ".join(line)].split())
  actions = [a for a in parser_of(line, monkeypatch)._actions if a.dest != "help"]
  assert len(actions) >= 1
  for action in actions:
    formatter = parser_of(line, monkeypatch)._get_formatter()
    help_ = " ".join(formatter._expand_help(action).split())
    assert f"{action.option_strings[0]} " in text and help_ in text
    assert help_[0].isupper() and help_.endswith(".")
    assert "Default: " in help_ or "Required" in help_ or "It is replaced" in help_


def test_launch_help_lists_its_own_flags(texts):
  for flag in ("--config", "--workdir", "--coordinator", "--num_processes", "--process_id"):
    assert flag in texts["launch"] and flag in texts["doctor"]


def test_the_same_flag_has_the_same_type_everywhere(monkeypatch):
  old = {flag for table in renamed.FLAGS.values() for flag in table}
  for line in LINES:
    for action in parser_of(line, monkeypatch)._actions:
      (flag,) = (name for name in action.option_strings if name.startswith("--"))
      assert flag not in old
      if flag in flags.SHARED:
        assert action.type is flags.SHARED[flag].get("type")


def test_the_dispatcher_knows_every_command_and_lists_them():
  files = {file.stem for file in (ROOT / "srpo_jax").glob("*.py")} - {"__init__", "config", "types"}
  assert set(COMMANDS) == files
  assert all(f"  {name} " in usage() and line.endswith(".") and line in usage() for name, line in COMMANDS.items())
  assert all(callable(importlib.import_module(f"srpo_jax.{name}").main) for name in COMMANDS)


@pytest.mark.parametrize(("args", "words"), [([], "expected a command"), (["lunch"], "lunch: unknown command")])
def test_the_dispatcher_refuses_in_one_line(args, words):
  done = subprocess.run([sys.executable, "-m", "srpo_jax.cli.main", *args], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and words in done.stderr


def test_the_dispatcher_hands_over(capsys):
  dispatch(["--help"])
  assert "curate" in capsys.readouterr().out
  with pytest.raises(SystemExit) as ended:
    dispatch(["export", "--help"])
  assert ended.value.code == 0 and "--max-shard-gb" in capsys.readouterr().out
  with pytest.raises(InputError, match="--no-such"):
    dispatch(["export", "--workdir=a", "--out=b", "--no-such"])


def test_an_old_flag_works_with_one_line_on_stderr():
  words = ["--model", "x", "--input", "a.jsonl"]
  for out in (["--output", "a.jsonl"], ["--output=a.jsonl"]):
    command = [sys.executable, "-m", "srpo_jax.logprobs", *words, *out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    first, second = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == ""
    assert "--output" in first and second == "error: --out: expected another file than --input, found a.jsonl"


@pytest.mark.parametrize(
  ("command", "old", "new"),
  [
    ("score", ["--input=a", "--output", "b", "--limit-s=3"], ["--input=a", "--out", "b", "--timeout-s=3"]),
    ("logprobs", ["--output=b"], ["--out=b"]),
    ("curate label", ["--output", "b", "--merge"], ["--out", "b", "--merge"]),
    ("export", ["--out", "--output"], ["--out", "--output"]),
  ],
)
def test_old_flags_become_the_current_ones(command, old, new):
  assert renamed.current_args(command, old) == new


def test_no_abbreviations():
  parser = ArgumentParser("x")
  parser.add_argument("--timeout-s", type=float)
  with pytest.raises(InputError, match="--time"):
    parser.parse_args(["--time=3"])


def test_the_script_finds_a_module_in_the_working_folder(tmp_path):
  """A console script's own sys.path lacks the working folder, from which `python -m` finds a user's part."""
  (tmp_path / "my_part.py").write_text("def main(args):\n  print('found')\n")
  code = (
    "import sys, srpo_jax.cli.main as m; sys.argv = ['srpo-jax', '--help']; "
    "m.usage = lambda: __import__('my_part').main([]) or ''; m.main()"
  )
  command = [sys.executable, "-P", "-c", code]
  done = subprocess.run(
    command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
  )
  assert done.returncode == 0 and done.stdout.startswith("found"), done.stderr
