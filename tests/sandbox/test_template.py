"""Tests that the template forks whole processes, stays the same and hands nothing from one child to the next."""

import json
import subprocess
import sys

import pytest

from srpo_jax.sandbox.client import Sandbox
from tests.helpers.paths import ROOT
from tests.helpers.sandboxes import value

# The grandparent forks a process that forks its own sibling, which then reports what it finds.
SIBLING = """
import json, os, signal, threading
from srpo_jax.sandbox import linux

grandparent = os.getpid()
reader, writer = os.pipe()
if os.fork() == 0:
  between = os.getpid()
  pid = linux.sibling_fork(0)()
  if pid:
    os._exit(0)
  got = []
  signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
  main = threading.main_thread()
  thread = threading.Thread(target=lambda: signal.pthread_kill(main.ident, signal.SIGUSR1))
  thread.start()
  thread.join()
  found = {"parent": os.getppid() == grandparent, "new": os.getpid() != between}
  found |= {"main": main is threading.current_thread(), "signalled": got == [signal.SIGUSR1], "pid": os.getpid()}
  os.write(writer, json.dumps(found).encode())
  os._exit(7)
os.wait()
pid, status = os.wait()
print(os.read(reader, 1000).decode().replace('"pid": %d' % pid, '"pid": true'), os.waitstatus_to_exitcode(status))
"""


def test_a_sibling_is_a_whole_process():
  done = subprocess.run([sys.executable, "-c", SIBLING], cwd=ROOT, capture_output=True, text=True, timeout=60)
  found, _, status = done.stdout.strip().rpartition(" ")
  assert done.returncode == 0, done.stderr
  assert all(json.loads(found).values()), found
  assert status == "7"


@pytest.mark.parametrize(("tier", "count"), [("namespaces", 270), ("landlock", 50)])
def test_memory_is_the_same_however_many_children_were_forked(tier, count):
  # Blocks of each size that the allocator keeps apart, in the order in which it gives them out.
  program = (
    "def f():\n  kept = [bytes(size) for size in range(1, 480, 16) for _ in range(12)]\n  return [*map(id, kept)]\n"
  )
  with Sandbox(slots=1, tier=tier, min_tier=tier) as running:
    found = {json.dumps(value(running, program, "f()")) for _ in range(count)}
  assert len(found) == 1  # the first process ids in a namespace are small integers, which Python keeps


# Tries to leave marks on the files that a child shares with others, and looks for such marks.
MARK = """
import fcntl, os, struct

def tried(attempt, *arguments):
  try:
    attempt(*arguments)
  except PermissionError:
    return "refused"
  except OSError as error:
    return os.strerror(error.errno)
  return "done"

def places():
  found = [0, 1, 2]
  for name, mode in (("/dev/null", os.O_RDWR), (os.__file__, os.O_RDONLY)):
    try:
      found.append(os.open(name, mode))
    except PermissionError:  # as in the landlock tier
      pass
  return found

def mark():
  for place in (0, 1, 2):
    fcntl.fcntl(place, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
  return locks()

def locks():
  found = set()
  for place in places():
    for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
      record = struct.pack("hhqqi4x", kind, 0, 3, 1, 0)
      for command in (fcntl.F_GETLK, fcntl.F_SETLK, 36, 37):  # the last two are for locks of an open file
        found.add(tried(fcntl.fcntl, place, command, record))
    found.add(tried(fcntl.flock, place, fcntl.LOCK_SH | fcntl.LOCK_NB))
  return sorted(found)

def changes():  # to what the file already is, so that a failure of this test harms nothing
  found = set()
  for place in places():
    about = os.fstat(place)
    for name in (place, f"/proc/self/fd/{place}"):
      found.add(tried(os.chmod, name, about.st_mode & 0o7777))
      found.add(tried(os.utime, name, (about.st_atime, about.st_mtime)))
  found.add(tried(os.truncate, "/dev/null", 0))
  return sorted(found)

def flags():
  return [fcntl.fcntl(place, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_APPEND) for place in (0, 1, 2)]
"""


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
def test_no_lock_or_flag_of_a_file_reaches_the_next_program(tier):
  with Sandbox(slots=1, tier=tier, min_tier=tier) as running:
    assert value(running, MARK, "mark()") == ["refused"]
    assert value(running, MARK, "locks()") == ["refused"]
    assert value(running, MARK, "flags()") == [0, 0, 0]


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
def test_a_file_cannot_be_changed_without_opening_it(tier):
  with Sandbox(slots=1, tier=tier, min_tier=tier) as running:
    assert value(running, MARK, "changes()") == ["refused"]
