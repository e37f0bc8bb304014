"""Tests of programs in a sandbox: their results, their surroundings, and their isolation from each other."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from srpo_jax.sandbox.client import Sandbox
from srpo_jax.sandbox.limits import Limits
from tests.helpers.processes import wait_until
from tests.helpers.sandboxes import DOUBLE, ask, calls, submit, value


@pytest.fixture(scope="module")
def sandbox():
  with Sandbox(slots=2, limits=Limits(test_s=2, backstop=1)) as running:
    yield running


@pytest.fixture(scope="module")
def scripts():
  with Sandbox(slots=1, tier="namespaces") as best, Sandbox(slots=1, tier="bubblewrap", min_tier="bubblewrap") as next:
    yield {"namespaces": best, "bubblewrap": next}


def test_a_program_is_called_and_its_values_come_back(sandbox):
  begin = time.monotonic()
  (execution,) = ask(sandbox, calls(DOUBLE, "f(21)", "f('ab')", "f(None)"))
  waited = time.monotonic() - begin
  lines = [json.loads(line) for line in execution.results.splitlines()]
  assert lines[:2] == [[0, "value", 42], [1, "value", "abab"]]
  assert lines[2][:2] == [2, "error"] and lines[2][2].startswith("TypeError")
  assert (execution.end, execution.code) == ("exit", 0) and 0 < execution.time_s < waited


def test_a_script_is_run_once_for_each_input(sandbox):
  program = "import sys\nn = int(input())\nprint(n * 2)\nsys.exit(n)"
  found = ask(sandbox, {"mode": "stdin", "program": program, "inputs": ["0\n", "3"]})
  assert [(e.stdout, e.end, e.code) for e in found] == [(b"0\n", "exit", 0), (b"6\n", "exit", 3)]


def test_a_script_is_not_run_on_after_it_took_too_long(sandbox):
  program = "if input() == 'spin':\n  while True: pass"
  found = ask(sandbox, {"mode": "stdin", "program": program, "inputs": ["x", "spin", "x"]})
  assert [e.end for e in found] == ["exit", "timeout"]
  begin = time.monotonic()
  found = ask(sandbox, {"mode": "stdin", "program": "while input(): \n  while True: pass", "inputs": ["x"] * 20})
  assert [e.end for e in found] == ["timeout"]
  assert time.monotonic() - begin < 20 * 2  # the time that all 20 inputs would take at 2 seconds each


def test_a_main_function_in_a_thread_is_waited_for(sandbox):
  program = "import threading as t\nt.stack_size(1 << 26)\nt.Thread(target=lambda: print(input())).start()"
  (found,) = ask(sandbox, {"mode": "stdin", "program": program, "inputs": ["deep"]})
  assert (found.stdout, found.code) == (b"deep\n", 0)


def test_what_a_program_sees(sandbox):
  program = """
import os, sys
def f():
  environment = dict(os.environ)
  names = sorted(os.listdir("/"))
  status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
  return [environment, os.getpid(), os.getuid(), os.getcwd(), os.listdir("."), names,
          status["CapEff"].strip(), status["CapPrm"].strip(), status["NoNewPrivs"].strip(), status["Seccomp"].strip(),
          [n for n in os.listdir("/proc") if n.isdigit()], os.listdir("/dev"), sys.argv]
"""
  environment, pid, uid, folder, files, names, *rest = value(sandbox, program, "f()")
  assert environment == {"d": [["PATH", "/usr/local/bin:/usr/bin:/bin"]]}
  assert (pid, uid, folder, files) == (1, 1000, "/tmp", [])
  assert not {"home", "var", "etc_passwd", "work", "srv", "sys"} & set(names) and {"tmp", "proc", "dev"} <= set(names)
  assert rest[:4] == ["0" * 16, "0" * 16, "1", "2"] and rest[4] == ["1"]
  assert sorted(rest[5]) == ["fd", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"]


def test_every_mount_but_the_temporary_folder_and_proc_is_read_only(sandbox):
  program = "def f():\n  return [line.split()[4:6] for line in open('/proc/self/mountinfo')]\n"
  mounts = dict(value(sandbox, program, "f()"))
  assert {"/", "/tmp", "/proc"} <= set(mounts)
  writable = {path for path, options in mounts.items() if "ro" not in options.split(",")}
  assert writable <= {"/tmp", "/proc", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}
  assert all("nosuid" in options for path, options in mounts.items() if not path.startswith("/dev/"))


def test_executions_share_nothing(sandbox):
  write = "def f():\n  open('note', 'w').write('x')\n  import math\n  math.pi = 3\n  return 1\n"
  read = "import os, math\ndef f():\n  return [os.listdir('.'), math.pi]\n"
  for _ in range(3):
    assert value(sandbox, write, "f()") == 1
    files, pi = value(sandbox, read, "f()")
    assert files == [] and pi > 3.1


def test_a_job_that_breaks_a_runner_gives_none_and_stops_nothing(sandbox):
  before = sandbox.pids()
  for _ in range(3):
    outcome = submit(sandbox, {"mode": "stdin", "program": "print(1)", "inputs": ["\ud800"]})[0]()
    assert outcome.executions is None and "UnicodeEncodeError" in outcome.reason, outcome
  assert value(sandbox, DOUBLE, "f(4)") == 8
  assert (sandbox.pids(), sandbox.restarts) == (before, 0)


@pytest.mark.parametrize(
  "program",
  [
    "print(int(input()) + 1)\nexit()\nprint('no')",
    "print(int(input()) + 1)\nquit(0)\nprint('no')",
    "import atexit\natexit.register(lambda: print(int(input()) + 1))",
    "print(int(open(0).read()) + 1)",
    "print(int(open('/dev/stdin').readline()) + 1)",
    "import os\nprint(int(os.read(0, 100)) + 1)",
    "import sys\nsys.stdout.write(str(int(sys.stdin.buffer.read()) + 1) + '\\n')\nsys.stdout.close()",
  ],
)
@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap"])
def test_the_idioms_of_scripts_work(scripts, tier, program):
  (found,) = ask(scripts[tier], {"mode": "stdin", "program": program, "inputs": ["41\n"]})
  assert (found.stdout, found.end, found.code) == (b"42\n", "exit", 0), found.results


@pytest.mark.parametrize(
  "name", ["math", "itertools", "collections", "heapq", "bisect", "functools", "re", "string", "random", "typing"]
)
def test_the_usual_imports_work(sandbox, name):
  assert value(sandbox, f"import {name}\ndef f():\n  return {name}.__name__\n", "f()") == name


def test_other_modules_of_the_library_work_and_foreign_ones_do_not(sandbox):
  assert value(sandbox, "import sched, colorsys\ndef f():\n  return sched.__name__\n", "f()") == "sched"
  attempt = "def f():\n  try:\n    import numpy\n  except ImportError:\n    return 'absent'\n"
  assert value(sandbox, attempt, "f()") == "absent"


def test_the_supervisor_has_no_environment_and_none_of_the_trainers_modules(sandbox):
  supervisor, *zygotes = sandbox.pids()
  for pid in (supervisor, *zygotes):
    assert Path(f"/proc/{pid}/environ").read_bytes().strip(b"\0") == b""
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "jaxlib" not in maps and "numpy" not in maps


def test_an_outcome_that_nobody_can_take_stops_nothing(sandbox, caplog):
  def fail(outcome):
    raise ValueError("mine")

  sandbox.submit(calls(DOUBLE, "f(1)"), fail)
  assert value(sandbox, DOUBLE, "f(4)") == 8
  wait_until(lambda: any("the callback for an outcome failed" in record.getMessage() for record in caplog.records))


SPIN = "import time\ndef f(x):\n  end = time.process_time() + x\n  while time.process_time() < end: pass\n  return x\n"


def _limited(limits: Limits, job: dict[str, Any]) -> Any:
  with Sandbox(slots=1, limits=limits) as running:
    return ask(running, job)


def test_each_call_has_its_own_limit_of_processor_time():
  (execution,) = _limited(Limits(test_s=0.5), calls(SPIN, *["f(0.2)"] * 8))
  assert execution.end == "exit" and execution.results.count(b"value") == 8
  (execution,) = _limited(Limits(test_s=0.5), calls(SPIN, "f(0.2)", "f(0.9)", "f(0.2)"))
  assert execution.end == "timeout" and execution.results.count(b"value") == 1


def test_waiting_counts_only_against_the_wall_clock():
  program = "import time\ndef f(x):\n  time.sleep(x)\n  return x\n"
  (execution,) = _limited(Limits(test_s=0.3), calls(program, "f(0.6)"))
  assert execution.end == "exit"
  (execution,) = _limited(Limits(test_s=0.3, backstop=2), calls(program, "f(60)"))
  assert execution.end == "timeout" and execution.time_s < 50


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
def test_all_tests_of_a_response_share_a_limit(tier):
  limits = Limits(test_s=0.5, response_s=0.7)
  script = {"mode": "stdin", "program": SPIN + "f(float(input()))", "inputs": ["0.3"] * 8}
  with Sandbox(slots=1, limits=limits, tier=tier, min_tier=tier) as running:
    (execution,) = ask(running, calls(SPIN, *["f(0.3)"] * 8))
    assert execution.end == "timeout" and 1 <= execution.results.count(b"value") <= 2
    assert 2 <= len(ask(running, script)) <= 3


def test_lines_of_its_own_give_a_program_no_more_time_than_its_tests_have():
  program = "import os, time\ndef f(x):\n  while True:\n    os.write(3, b'[0, 1]\\n')\n"
  (execution,) = _limited(Limits(test_s=0.3, output=1 << 30), calls(program, "f(1)", "f(2)"))
  assert execution.end == "timeout"
