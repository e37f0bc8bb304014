"""Reads tests/data/cases/scripts.txt: scripts of programming contests, each with its standard input."""

import ast
import dataclasses

from tests.helpers.paths import ROOT

_FILE = ROOT / "tests/data/cases/scripts.txt"
_INPUT = "3\n1 2 3\n"


@dataclasses.dataclass(frozen=True)
class Script:
  """A program and its standard input."""

  name: str
  program: str
  given: str = _INPUT


def scripts() -> list[Script]:
  """Returns the scripts of the file, and three whose text an editor would change."""
  _, *sections = _FILE.read_text(encoding="utf-8").split("\n=== ")
  fast_io = sections[0].partition("\n")[2]
  found = []
  for section in sections[1:]:
    heading, _, program = section.partition("\n")
    name, _, given = heading.partition(" <<< ")
    program = program.rstrip("\n") + "\n"
    found.append(Script(name, program.replace("FAST_IO\n", fast_io), ast.literal_eval(given) if given else _INPUT))
  return [
    *found,
    Script("a byte order mark", "\ufeff#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint('é', input())\n"),
    Script("line ends of Windows", "n = input()\r\nif n:\r\n    print(n)\r\n"),
    Script("no newline at the end", "import inspect\ndef f(): return 1\nprint(inspect.getsource(f), input())"),
  ]
