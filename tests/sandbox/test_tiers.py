"""Tests of the sandbox's tiers and options: choice of tier, isolation of each tier, and rejected arguments."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srpo_jax.sandbox import cgroup, interpreter, probe
from srpo_jax.sandbox.client import Sandbox, SandboxOptions
from srpo_jax.sandbox.limits import Limits
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT
from tests.helpers.sandboxes import DOUBLE, ask, calls, value


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
@pytest.mark.parametrize("door", ["", "processes", "socket", "passwords", "kill", "program", "pid"])
def test_a_probe_that_finds_an_open_door_fails_the_tier(tier, door):
  found = dict.fromkeys(("processes", "socket", "passwords", "kill", "program"), "refused") | {"pid": 1, "sum": 6}
  if door:
    found |= {door: "done"} if door != "pid" else {"pid": 4711}
  data = json.dumps([0, "value", {"d": list(found.items())}]).encode()
  message = {"outcomes": [{"end": "exit", "code": 0, "detail": "", "results": len(data)}]}, data
  reason = probe.verdict(tier, message)
  if not door or (door == "pid" and tier == "landlock"):
    assert reason is None
  else:
    assert reason is not None and "the probe could reach" in reason
  assert probe.verdict("unsafe", message) is None
  assert probe.verdict(tier, None) == "the zygote died over the probe"


SEARCH = r"""
import re, sys
def frames():
  frame, found = sys._getframe(), []
  while frame is not None:
    found += [repr(value).encode() for value in frame.f_locals.values()]
    frame = frame.f_back
  return found
def memory():
  found = []
  try: lines = list(open("/proc/self/maps"))
  except OSError: return []
  for line in lines:
    first, last = [int(word, 16) for word in line.split()[0].split("-")]
    if " rw" in line:
      with open("/proc/self/mem", "rb") as file:
        file.seek(first)
        try: found.append(file.read(last - first))
        except OSError: pass
  return found
def f():
  data = b" ".join(frames() + memory())  # before the patterns below are themselves in memory
  return [len(re.findall(b"7318" + tail, data)) for tail in (b"2645", b"0264", b"4059")]
own = 73184059
"""


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
def test_a_program_finds_nothing_of_the_one_before(tier):
  """A program must not find an earlier program's text or return values in its frames or its memory.

  In a group of responses to one prompt, these would give away the answer.
  """
  before = "def f(x):\n  return x + 73180000  # 73180264\n"
  with Sandbox(slots=1, tier=tier, min_tier=tier) as running:
    for _ in range(3):
      assert value(running, before, "f(2645)") == 73182645
    returned, source, own = value(running, SEARCH, "f()")
  assert (returned, source) == (0, 0)
  assert own > 0  # the search finds a value that is in memory


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap"])
def test_numpy_where_the_config_allows_it(tier):
  with Sandbox(slots=1, packages=("numpy",), tier=tier, min_tier=tier) as running:
    program = "import numpy as np\ndef f():\n  return [np.arange(3) * 2, np.float64(0.5), np.sum(np.eye(2))]\n"
    assert value(running, program, "f()") == [[0, 2, 4], 0.5, 2.0]
    drawn = "import numpy as np\ndef f():\n  return float(np.random.rand())\n"
    assert value(running, drawn, "f()") == value(running, drawn, "f()")
    assert value(running, "def f():\n  try:\n    import flax\n  except ImportError:\n    return 1\n", "f()") == 1


def test_an_unknown_package_is_refused():
  with pytest.raises(InputError, match=r"sandbox.packages: .*no_such_package"):
    Sandbox(packages=("no_such_package",))


def test_the_tier_and_what_is_missing_are_logged_once(caplog):
  with caplog.at_level(logging.INFO), Sandbox(slots=1, tier="landlock", min_tier="landlock") as running:
    value(running, DOUBLE, "f(1)")
  (line,) = [record.getMessage() for record in caplog.records if "sandbox" in record.getMessage()]
  assert line.startswith("sandbox: tier landlock, 1 slots")
  assert all(name in line for name in running.missing)


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ({"min_tier": "docker"}, "sandbox.min_tier: expected one of namespaces, bubblewrap, landlock, unsafe"),
    ({"tier": "best"}, "sandbox.tier: expected one of"),
    ({"tier": "unsafe"}, "sandbox.tier: unsafe is below sandbox.min_tier namespaces"),
    ({"tier": "landlock", "min_tier": "bubblewrap"}, "landlock is below sandbox.min_tier bubblewrap"),
    ({"slots": -1}, "sandbox.slots: expected a whole number from 0 to 512"),
    ({"limits": Limits(test_s=0, backstop=1)}, "expected limits above 0"),
  ],
)
def test_bad_arguments_are_named(arguments, words):
  with pytest.raises(InputError, match=words):
    Sandbox(**arguments)


def test_no_accepted_tier_is_an_error_with_the_reasons_and_never_a_weaker_tier(monkeypatch):
  """The negative inode limit makes mounting /tmp fail, so the best tier fails, and no other tier is accepted."""
  with pytest.raises(InputError, match=r"no accepted tier works here: namespaces: .*tmp") as caught:
    Sandbox(slots=1, min_tier="namespaces", limits=Limits(inodes=-1))
  assert len(str(caught.value).splitlines()) == 1


def test_the_next_tier_is_taken_where_it_is_accepted_and_the_reason_is_kept():
  with Sandbox(slots=1, min_tier="landlock", limits=Limits(inodes=-1)) as running:
    assert running.tier == "bubblewrap", running.reasons
    assert "tmp" in running.reasons["namespaces"]
    assert value(running, DOUBLE, "f(4)") == 8


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
@pytest.mark.parametrize("setting", ["resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))", "os.closerange(0, 3)"])
def test_few_descriptors_and_closed_standard_streams_are_no_obstacle(tier, setting, tmp_path):
  script = f"""
import os, resource, sys, threading
{setting}
sys.path.insert(0, {str(ROOT)!r})
from srpo_jax.sandbox.client import Sandbox
with Sandbox(slots=2, tier={tier!r}, min_tier={tier!r}) as sandbox:
  done = threading.Event()
  job = {{"mode": "stdin", "program": "print(input())", "inputs": ["right"]}}
  file = open({str(tmp_path / "out")!r}, "wb", buffering=0)
  sandbox.submit(job, lambda outcome: (file.write(outcome.executions[0].stdout), done.set()))
  done.wait(600)
"""
  done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=900, check=False)
  assert (tmp_path / "out").read_bytes() == b"right\n", done.stderr


def test_children_of_two_sandboxes_have_different_uids():
  """A sandbox kills all processes of a slot's uid, which must not include processes of another sandbox."""
  if os.getuid() != 0:
    pytest.skip("an ordinary user has no other uid to give")
  program = "import os\ndef f():\n  return os.getuid()\n"
  with (
    Sandbox(slots=1, tier="landlock", min_tier="landlock") as one,
    Sandbox(slots=1, tier="unsafe", min_tier="unsafe") as other,
  ):
    found = {value(one, program, "f()"), value(other, program, "f()")}
  assert len(found) == 2 and min(found) >= 1_000_000_000


def test_options_start_a_sandbox_with_their_limits():
  with SandboxOptions(min_tier="namespaces", slots=1, timeout_s=0.5).start() as running:
    (execution,) = ask(running, calls("def f():\n  while True: pass\n", "f()"))
    assert execution.end == "timeout" and execution.time_s > 0.4, execution
  with SandboxOptions(min_tier="namespaces", slots=1, timeout_s=60, memory_mb=300).start() as running:
    assert running.limits.test_s == 60
    (execution,) = ask(running, calls("def f():\n  return len(bytearray(400 << 20))\n", "f()"))
    assert b"MemoryError" in execution.results


def test_groups_are_sought_in_either_version():
  new = "0::/user.slice/session-1.scope\n"
  mounted = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
  own = Path("/sys/fs/cgroup/user.slice/session-1.scope")
  assert cgroup.folders("pids", new, mounted) == [(own, 2), (Path("/sys/fs/cgroup"), 2)]
  old = "8:pids:/job\n4:memory:/a/b\n0::/\n"
  mounted = "40 1 0:30 / /cg/pids rw - cgroup cgroup rw,pids\n"
  mounted += "41 1 0:31 /a /cg/my\\040mem rw - cgroup cgroup rw,memory\n"
  assert cgroup.folders("pids", old, mounted) == [(Path("/cg/pids/job"), 1), (Path("/cg/pids"), 1)]
  assert cgroup.folders("memory", old, mounted) == [(Path("/cg/my mem/b"), 1), (Path("/cg/my mem"), 1)]
  assert cgroup.folders("cpu", old, mounted) == []


def test_package_folders_are_those_of_the_package_alone():
  folders = interpreter.package_folders(("numpy",))
  assert [Path(folder).name for folder in folders] in (["numpy"], ["numpy", "numpy.libs"])
