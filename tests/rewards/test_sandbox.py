"""The sandbox itself: tiers, failures of its own parts, what a program finds, and that nothing stays behind."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from srpo_jax.errors import InputError
from srpo_jax.sandbox import cgroup, client, interpreter, probe
from srpo_jax.sandbox.client import Outcome, Sandbox, SandboxOptions
from srpo_jax.sandbox.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = "def f(x):\n  return 2 * x\n"


@pytest.fixture(scope="module")
def sandbox():
  with Sandbox(slots=2, limits=Limits(wall_s=2)) as running:
    yield running


@pytest.fixture(scope="module")
def scripts():
  with Sandbox(slots=1, tier="namespaces") as best, Sandbox(slots=1, tier="bubblewrap", min_tier="bubblewrap") as next:
    yield {"namespaces": best, "bubblewrap": next}


def calls(program: str, *expressions: str) -> dict[str, Any]:
  return {"mode": "calls", "program": program, "calls": [{"expression": text} for text in expressions]}


def submit(sandbox: Sandbox, job: dict[str, Any]):
  """A function that waits for the outcome, and a list that gets every one that comes."""
  done, found = threading.Event(), []

  def take(outcome: Outcome) -> None:
    found.append(outcome)
    done.set()

  sandbox.submit(job, take)

  def wait() -> Outcome:
    assert done.wait(600), "no outcome"
    return found[0]

  return wait, found


def ask(sandbox: Sandbox, job: dict[str, Any]) -> Any:
  """The executions of a job."""
  outcome = submit(sandbox, job)[0]()
  assert outcome.executions is not None, outcome.reason
  return outcome.executions


def value(sandbox: Sandbox, program: str, expression: str) -> Any:
  (execution,) = ask(sandbox, calls(program, expression))
  (line,) = [json.loads(text) for text in execution.results.splitlines()]
  assert line[1] == "value", line
  return line[2]


def wait_until(condition, limit_s: float = 50.0) -> None:
  end = time.monotonic() + limit_s
  while not condition():
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.01)


def alive(pid: int) -> bool:
  with contextlib.suppress(OSError):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  return False


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
  assert time.monotonic() - begin < 20 * 2  # the limit of each, were all run


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
  assert environment == {"d": []} and (pid, uid, folder, files) == (1, 1000, "/tmp", [])
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


def test_executions_share_nothing(sandbox):
  write = "def f():\n  open('note', 'w').write('x')\n  import math\n  math.pi = 3\n  return 1\n"
  read = "import os, math\ndef f():\n  return [os.listdir('.'), math.pi]\n"
  for _ in range(3):
    assert value(sandbox, write, "f()") == 1
    files, pi = value(sandbox, read, "f()")
    assert files == [] and pi > 3.1


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
  """Neither in the frames above it nor in its memory: in a group of responses to one prompt that is the answer."""
  before = "def f(x):\n  return x + 73180000  # 73180264\n"
  with Sandbox(slots=1, tier=tier, min_tier=tier) as running:
    for _ in range(3):
      assert value(running, before, "f(2645)") == 73182645
    returned, source, own = value(running, SEARCH, "f()")
  assert (returned, source) == (0, 0)
  assert own > 0  # the search does find what is there


def test_a_job_that_breaks_a_runner_gives_none_and_stops_nothing(sandbox):
  before = sandbox.pids()
  for _ in range(3):
    outcome = submit(sandbox, {"mode": "stdin", "program": "print(1)", "inputs": ["\ud800"]})[0]()
    assert outcome.executions is None and "UnicodeEncodeError" in outcome.reason, outcome
  assert value(sandbox, DOUBLE, "f(4)") == 8
  assert (sandbox.pids(), sandbox.restarts) == (before, 0)


def test_an_answer_that_is_none_is_not_an_outcome():
  assert client._outcome({"id": 0, "error": "broken"}, b"") == Outcome(None, "broken")
  assert client._outcome({"id": 0}, b"").executions is None


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


def test_numpy_where_the_config_allows_it():
  with Sandbox(slots=1, packages=("numpy",)) as running:
    program = "import numpy as np\ndef f():\n  return [np.arange(3) * 2, np.float64(0.5), np.sum(np.eye(2))]\n"
    assert value(running, program, "f()") == [[0, 2, 4], 0.5, 2.0]
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
    ({"limits": Limits(wall_s=0)}, "expected limits above 0"),
  ],
)
def test_bad_arguments_are_named(arguments, words):
  with pytest.raises(InputError, match=words):
    Sandbox(**arguments)


def test_no_accepted_tier_is_an_error_with_the_reasons_and_never_a_weaker_tier(monkeypatch):
  """A temporary folder of no size cannot be mounted: the probe of the best tier fails, the others are not accepted."""
  with pytest.raises(InputError, match=r"no accepted tier works here: namespaces: .*tmp") as caught:
    Sandbox(slots=1, min_tier="namespaces", limits=Limits(inodes=-1))
  assert len(str(caught.value).splitlines()) == 1


def test_the_next_tier_is_taken_where_it_is_accepted_and_the_reason_is_kept():
  with Sandbox(slots=1, min_tier="landlock", limits=Limits(inodes=-1)) as running:
    assert running.tier == "bubblewrap", running.reasons
    assert "tmp" in running.reasons["namespaces"]
    assert value(running, DOUBLE, "f(4)") == 8


def test_a_killed_zygote_is_replaced_and_its_job_judged_once():
  with Sandbox(slots=1, limits=Limits(wall_s=3)) as running:
    wait, found = submit(running, calls("import time\ndef f():\n  time.sleep(0.5)\n  return 1\n", "f()"))
    time.sleep(0.2)
    os.kill(running.pids()[1], signal.SIGKILL)
    assert wait().executions[0].results == b'[0, "value", 1]\n'
    assert value(running, DOUBLE, "f(4)") == 8
    assert len(found) == 1 and running.restarts == 0


def test_a_killed_zygote_leaves_no_zombie_behind():
  with Sandbox(slots=1, tier="landlock", min_tier="landlock") as running:
    wait, _ = submit(running, calls("import time\ndef f():\n  time.sleep(0.5)\n  return 1\n", "f()"))
    time.sleep(0.2)
    supervisor, zygote = running.pids()
    os.kill(zygote, signal.SIGKILL)
    assert wait().executions[0].end == "exit"
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    wait_until(lambda: len(children.read_text().split()) == 1)


def test_a_killed_supervisor_is_restarted_and_what_was_in_flight_is_judged_once():
  with Sandbox(slots=2, limits=Limits(wall_s=3)) as running:
    old = running.pids()
    program = "import time\ndef f(x):\n  time.sleep(0.3)\n  return x\n"
    jobs = [submit(running, calls(program, f"f({number})")) for number in range(6)]
    time.sleep(0.2)
    os.kill(old[0], signal.SIGKILL)
    values = [json.loads(wait().executions[0].results)[2] for wait, _ in jobs]
    assert values == list(range(6)) and running.restarts == 1
    assert [len(found) for _, found in jobs] == [1] * 6
    wait_until(lambda: not any(map(alive, old)))  # nothing of the dead one's runs on


def test_a_supervisor_that_dies_over_a_job_twice_gives_none():
  with Sandbox(slots=1, limits=Limits(wall_s=10)) as running:
    wait, found = submit(running, calls("import time\ndef f():\n  time.sleep(5)\n", "f()"))
    for restarts in range(2):
      wait_until(lambda restarts=restarts: running.restarts == restarts)
      time.sleep(0.3)
      os.kill(running.pids()[0], signal.SIGKILL)
    outcome = wait()
    assert (outcome.executions, outcome.reason) == (None, "the supervisor died over it twice")
    wait_until(lambda: running.restarts == 2)
    assert value(running, DOUBLE, "f(4)") == 8 and len(found) == 1


def test_a_supervisor_that_cannot_be_started_again_gives_none_at_once(monkeypatch):
  with Sandbox(slots=1, limits=Limits(wall_s=10)) as running:
    wait, _ = submit(running, calls("import time\ndef f():\n  time.sleep(5)\n", "f()"))
    time.sleep(0.3)
    monkeypatch.setattr(client, "RETRY_AFTER_S", 600)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    os.kill(running.pids()[0], signal.SIGKILL)
    assert wait().executions is None
    attempts = []

    def start():
      attempts.append(1)
      raise client.StartError("once more")

    monkeypatch.setattr(running, "_start", start)
    outcome = submit(running, calls(DOUBLE, "f(1)"))[0]()
    assert outcome.executions is None and "cannot start /nonexistent/python" in outcome.reason
    assert not attempts
    monkeypatch.undo()
    monkeypatch.setattr(running, "_broken_until", 0.0)
    assert value(running, DOUBLE, "f(4)") == 8


def test_a_child_that_cannot_be_confined_gives_none(monkeypatch):
  """Nothing of the program runs where a layer fails: the memory cgroup of the slot is taken away."""
  with Sandbox(slots=1) as running:
    marks = list(Path("/sys/fs/cgroup").glob(f"**/srpo-sandbox-{running.pids()[0]}-0"))
    if not marks:
      pytest.skip("no cgroup can be made here")
    for folder in marks:
      folder.rmdir()
    outcome = submit(running, calls(DOUBLE, "f(1)"))[0]()
    assert outcome.executions is None and outcome.reason.startswith("the child could not be confined")


def test_a_full_disk_is_no_obstacle():
  """Nothing is written to a disk: with every temporary folder full, verdicts are what they were."""
  if os.getuid() != 0:
    pytest.skip("needs root to fill a file system of its own")
  script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from srpo_jax.sandbox import linux
linux.unshare(linux.CLONE_NEWNS)
linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
for folder in ("/var/tmp", "/dev/shm"):
  linux.mount("full", folder, "tmpfs", 0, "size=4k")
  open(folder + "/x", "wb").write(bytes(4096))
import os, threading
os.environ["TMPDIR"] = "/var/tmp"
from srpo_jax.sandbox.client import Sandbox
with Sandbox(slots=1) as sandbox:
  done = threading.Event()
  job = {{"mode": "stdin", "program": "print(input())", "inputs": ["x" * 100_000]}}
  sandbox.submit(job, lambda outcome: (print(len(outcome.executions[0].stdout)), done.set()))
  done.wait(600)
"""
  done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=900, check=False)
  assert done.stdout == "100001\n", done.stderr


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


def test_closing_ends_every_process_and_leaves_no_descriptor_or_cgroup():
  before = len(os.listdir("/proc/self/fd")), set(Path("/sys/fs/cgroup").glob("**/srpo-sandbox-*"))
  running = Sandbox(slots=2)
  pids = running.pids()
  assert len(pids) == 3 and all(map(alive, pids))
  value(running, DOUBLE, "f(1)")
  running.close()
  assert not any(map(alive, pids))
  left = set(Path("/sys/fs/cgroup").glob("**/srpo-sandbox-*")) - before[1]
  assert len(os.listdir("/proc/self/fd")) == before[0]
  assert not {path for path in left if f"-{pids[0]}-" in path.name}
  with pytest.raises(RuntimeError, match="closed"):
    running.submit(calls(DOUBLE, "f(1)"), lambda outcome: None)


def test_all_ends_with_the_process_that_started_it():
  script = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from srpo_jax.sandbox.client import Sandbox
sandbox = Sandbox(slots=2)
sandbox.submit({calls("import time" + chr(10) + "def f():" + chr(10) + "  time.sleep(60)", "f()")!r}, print)
print(*sandbox.pids(), flush=True)
time.sleep(60)
"""
  process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
  assert process.stdout is not None
  pids = [int(word) for word in process.stdout.readline().split()]
  assert len(pids) == 3
  time.sleep(0.3)
  process.kill()
  process.wait()
  process.stdout.close()
  wait_until(lambda: not any(map(alive, pids)))


def test_the_supervisor_has_no_environment_and_none_of_the_trainers_modules(sandbox):
  supervisor, *zygotes = sandbox.pids()
  for pid in (supervisor, *zygotes):
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "jaxlib" not in maps and "numpy" not in maps


def test_children_of_two_sandboxes_have_different_uids():
  """What ends the processes of one uid must not reach another sandbox's."""
  if os.getuid() != 0:
    pytest.skip("an ordinary user has no other uid to give")
  program = "import os\ndef f():\n  return os.getuid()\n"
  with (
    Sandbox(slots=1, tier="landlock", min_tier="landlock") as one,
    Sandbox(slots=1, tier="unsafe", min_tier="unsafe") as other,
  ):
    found = {value(one, program, "f()"), value(other, program, "f()")}
  assert len(found) == 2 and min(found) >= 1_000_000_000


def test_the_queue_is_bounded(monkeypatch):
  monkeypatch.setattr(client, "IN_FLIGHT", 4)
  with Sandbox(slots=1) as running:
    found: list[Outcome] = []
    for _ in range(8):
      running.submit(calls("import time\ndef f():\n  time.sleep(0.1)\n", "f()"), found.append)
    assert len(found) >= 4  # the later half waited for the earlier
    wait_until(lambda: len(found) == 8)


def test_the_bytes_in_flight_are_bounded_and_one_job_always_fits(monkeypatch):
  monkeypatch.setattr(client, "BYTES_IN_FLIGHT", 1000)
  with Sandbox(slots=1) as running:
    found: list[Outcome] = []
    sent: list[int] = []
    for size in (5000, 300, 300, 5000):
      program = f"import time\ndef f():\n  time.sleep(0.1)\n#{'x' * size}"
      running.submit(calls(program, "f()"), found.append)
      sent.append(len(found))
    assert sent[1] == 1 and sent[3] == 3, sent  # each waited until the larger ones were answered
    wait_until(lambda: len(found) == 4)


def test_options_start_a_sandbox_with_their_limits():
  with SandboxOptions(min_tier="namespaces", slots=1, limit_s=0.5).start() as running:
    (execution,) = ask(running, calls("def f():\n  while True: pass\n", "f()"))
    assert execution.end == "timeout" and execution.time_s > 0.4, execution
  with SandboxOptions(min_tier="namespaces", slots=1, limit_s=60, memory_mb=300).start() as running:
    assert running.limits.wall_s == 60
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


def test_an_outcome_that_nobody_can_take_stops_nothing(sandbox, caplog):
  def fail(outcome):
    raise ValueError("mine")

  sandbox.submit(calls(DOUBLE, "f(1)"), fail)
  assert value(sandbox, DOUBLE, "f(4)") == 8
  wait_until(lambda: any("what was to take an outcome failed" in record.getMessage() for record in caplog.records))


def test_package_folders_are_those_of_the_package_alone():
  folders = interpreter.package_folders(("numpy",))
  assert [Path(folder).name for folder in folders] in (["numpy"], ["numpy", "numpy.libs"])
