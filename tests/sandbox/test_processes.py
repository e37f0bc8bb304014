"""Tests of the sandbox's own processes: recovery from kills, bounds on the queue, and complete cleanup."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from srpo_jax.sandbox import client
from srpo_jax.sandbox.client import Outcome, Sandbox
from srpo_jax.sandbox.limits import Limits
from tests.helpers.paths import ROOT
from tests.helpers.processes import alive, wait_until
from tests.helpers.sandboxes import DOUBLE, calls, submit, value


def test_an_answer_that_is_none_is_not_an_outcome():
  assert client._outcome({"id": 0, "error": "broken"}, b"") == Outcome(None, "broken")
  assert client._outcome({"id": 0}, b"").executions is None


def test_a_killed_zygote_is_replaced_and_its_job_judged_once():
  with Sandbox(slots=1, limits=Limits(test_s=3, backstop=1)) as running:
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
  with Sandbox(slots=2, limits=Limits(test_s=3, backstop=1)) as running:
    old = running.pids()
    program = "import time\ndef f(x):\n  time.sleep(0.3)\n  return x\n"
    jobs = [submit(running, calls(program, f"f({number})")) for number in range(6)]
    time.sleep(0.2)
    os.kill(old[0], signal.SIGKILL)
    values = [json.loads(wait().executions[0].results)[2] for wait, _ in jobs]
    assert values == list(range(6)) and running.restarts == 1
    assert [len(found) for _, found in jobs] == [1] * 6
    wait_until(lambda: not any(map(alive, old)))  # the zygotes of the dead supervisor end too


def test_a_supervisor_that_hangs_is_replaced_and_what_was_in_flight_is_judged_once():
  with Sandbox(slots=2) as running:
    old = running.pids()
    program = "import time\ndef f(x):\n  time.sleep(0.3)\n  return x\n"
    jobs = [submit(running, calls(program, f"f({number})")) for number in range(6)]
    time.sleep(0.2)
    os.kill(old[0], signal.SIGSTOP)
    values = [json.loads(wait().executions[0].results)[2] for wait, _ in jobs]
    assert values == list(range(6)) and running.restarts == 1
    assert [len(found) for _, found in jobs] == [1] * 6
    wait_until(lambda: not any(map(alive, old)))


def test_a_supervisor_that_hangs_does_not_delay_the_end():
  running = Sandbox(slots=2)
  pids = running.pids()
  os.kill(pids[0], signal.SIGSTOP)
  running.close()
  wait_until(lambda: not any(map(alive, pids)))


@pytest.mark.slow
def test_a_zygote_that_hangs_is_replaced_and_its_job_judged_once():
  with Sandbox(slots=1, limits=Limits(test_s=0.1)) as running:
    old = running.pids()
    os.kill(old[1], signal.SIGSTOP)
    assert value(running, DOUBLE, "f(4)") == 8
    assert running.restarts == 0
    wait_until(lambda: not alive(old[1]))


def test_a_reader_that_is_busy_is_no_sign_of_a_hang(monkeypatch):
  monkeypatch.setattr(client, "SILENT_S", 2.5)
  with Sandbox(slots=1) as running:
    done = threading.Event()
    running.submit(calls(DOUBLE, "f(1)"), lambda outcome: (time.sleep(4), done.set()))
    assert done.wait(600)
    assert value(running, DOUBLE, "f(4)") == 8 and running.restarts == 0


def test_a_supervisor_that_dies_over_a_job_twice_gives_none():
  with Sandbox(slots=1, limits=Limits(test_s=10, backstop=1)) as running:
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
  with Sandbox(slots=1, limits=Limits(test_s=10, backstop=1)) as running:
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
  """If a layer of confinement fails, the program does not run. Here the slot's cgroups are removed."""
  with Sandbox(slots=1) as running:
    marks = list(Path("/sys/fs/cgroup").glob(f"**/srpo-sandbox-{running.pids()[0]}-0"))
    if not marks:
      pytest.skip("no cgroup can be made here")
    for folder in marks:
      folder.rmdir()
    outcome = submit(running, calls(DOUBLE, "f(1)"))[0]()
    assert outcome.executions is None and outcome.reason.startswith("the child could not be confined")


def test_a_full_disk_is_no_obstacle():
  """The sandbox writes nothing to disk, so programs run correctly while every temporary folder is full."""
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


def test_the_queue_is_bounded(monkeypatch):
  monkeypatch.setattr(client, "IN_FLIGHT", 4)
  with Sandbox(slots=1) as running:
    found: list[Outcome] = []
    for _ in range(8):
      running.submit(calls("import time\ndef f():\n  time.sleep(0.1)\n", "f()"), found.append)
    assert len(found) >= 4  # the second half of the jobs waited for the first half
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
    assert sent[1] == 1 and sent[3] == 3, sent  # each of these two waited until all earlier jobs were answered
    wait_until(lambda: len(found) == 4)
