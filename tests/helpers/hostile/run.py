"""Runs the hostile list on one tier and prints one JSON line per program with its verdict, seconds and leftovers.

    python -m tests.helpers.hostile.run TIER UID [NAME...]

If UID is not this process's own, the process first becomes that user. A mount namespace then makes the interpreter and
the repository readable to it. A cgroup or RLIMIT_NPROC around the sandbox always bounds the number of forks.
"""

import contextlib
import glob
import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from srpo_jax.sandbox import cgroup, linux  # noqa: E402
from tests.helpers.hostile.lines import MARKER, Hostile  # noqa: E402
from tests.helpers.hostile.programs import HOSTILE  # noqa: E402

LIMIT_S = 1.0
FOLDERS = ("/tmp", "/dev/shm", "/var/tmp", "/run", "/")
MAX_PROCESSES = 400


def become(uid: int) -> None:
  """Becomes an ordinary user, who sees only the interpreter and the repository inside otherwise private folders."""
  linux.unshare(linux.CLONE_NEWNS)
  linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
  needed = {os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, str(ROOT))}
  handles = {path: os.open(path, os.O_PATH) for path in needed}
  for closed in sorted({_closed_ancestor(path) for path in needed} - {""}):
    linux.mount("none", closed, "tmpfs", 0, "mode=755")
    for path in sorted(needed):
      if path.startswith(closed + "/"):
        os.makedirs(path)
        linux.mount(f"/proc/self/fd/{handles[path]}", path, None, linux.MS_BIND | linux.MS_REC)
  for handle in handles.values():
    os.close(handle)
  os.setgroups([])
  os.setresgid(uid, uid, uid)
  os.setresuid(uid, uid, uid)
  linux.prctl(linux.PR_SET_DUMPABLE, 1)
  resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))
  os.chdir("/")


def _closed_ancestor(path: str) -> str:
  for folder in reversed(Path(path).parents):
    if not folder.stat().st_mode & 0o001:
      return str(folder)
  return ""


class OuterGroup:
  """Cgroup around the sandbox under test, which bounds the processes that the sandbox fails to stop."""

  def __enter__(self) -> "OuterGroup":
    self._folder: Path | None = None
    for base, _ in cgroup._bases("pids"):
      folder = base / f"srpo-test-{os.getpid()}"
      with contextlib.suppress(OSError):
        folder.mkdir()
        (folder / "pids.max").write_text(str(MAX_PROCESSES))
        (folder / "cgroup.procs").write_text("0")
        self._folder, self._base = folder, base
        return self
    raise RuntimeError("cannot create a pids cgroup around the test")

  def __exit__(self, *_: object) -> None:
    if self._folder is not None:
      (self._base / "cgroup.procs").write_text("0")
      end = time.monotonic() + 5
      while self._folder.exists() and time.monotonic() < end:
        with contextlib.suppress(OSError):
          for path in sorted(self._folder.glob("**/"), reverse=True):
            path.rmdir()
        time.sleep(0.05)


class Host:
  """Targets on this host that programs can attack, and a record of its state to find what they leave behind."""

  def __init__(self, tier: str, pids: list[int]):
    self._pids = pids
    self._tcp = socket.create_server(("127.0.0.1", 0))
    self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    self._udp.bind(("127.0.0.1", 0))
    self._unix = socket.socket(socket.AF_UNIX)
    self._unix.bind(f"\0srpo-test-{os.getpid()}")
    self._unix.listen()
    self._secret = _secret_file()
    self._datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    self._datagram.bind(f"{self._secret}.socket")
    os.chmod(f"{self._secret}.socket", 0o777)
    paths = [f"{ROOT}/", str(Path(__file__)), f"{ROOT}/srpo_jax/rewards/code.py", "/etc/passwd", "/home/", self._secret]
    self.facts = {
      "tcp": self._tcp.getsockname()[1],
      "udp": self._udp.getsockname()[1],
      "abstract": f"\0srpo-test-{os.getpid()}",
      "datagram": f"{self._secret}.socket",
      "paths": [path for path in paths if os.path.exists(path)],
      "pid": pids[0],
      "token": os.getpid(),
      # On tiers that may not stop signals, programs send SIGCONT (18), which does no harm.
      "signal": 9 if tier in ("namespaces", "bubblewrap") else 18,
    }
    self._before = self._state()

  def _state(self) -> dict[str, object]:
    return {
      "processes": sorted(_below(self._pids[0])),
      "descriptors": {pid: _descriptors(pid) for pid in self._pids},
      "files": sorted(path for folder in FOLDERS for path in glob.glob(f"{folder}/{MARKER}-{os.getpid()}-*")),
    }

  def left(self) -> list[str]:
    """Describes what changed since the start. Gives the kernel up to one second to release resources."""
    end = time.monotonic() + 1
    while (state := self._state()) != self._before and time.monotonic() < end:
      time.sleep(0.02)
    changed = [name for name in state if state[name] != self._before[name]]
    found = [f"{name}: {state[name]}, before {self._before[name]}"[:300] for name in changed]
    grown = [pid for pid in self._pids if _resident(pid) > 400 << 20]
    return found + [f"memory of {pid}" for pid in grown]

  def close(self) -> None:
    os.unlink(self._secret)
    os.unlink(f"{self._secret}.socket")

  def clean(self) -> None:
    for folder in FOLDERS:
      for path in glob.glob(f"{folder}/{MARKER}-{os.getpid()}-*"):
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def _secret_file() -> str:
  """Creates a file that only this user may read, in the home folder if it is writable, otherwise in /var/tmp."""
  home = os.path.expanduser("~")
  folder = home if home != "/" and os.access(home, os.W_OK) else "/var/tmp"
  handle, path = tempfile.mkstemp(prefix="srpo-secret-", dir=folder)
  os.write(handle, b"secret")
  os.close(handle)
  return path


def _below(root: int) -> set[tuple[int, str]]:
  """Returns a process and all its descendants, each as (pid, "alive", "zombie" or "gone")."""
  parents, states = {}, {}
  for name in filter(str.isdigit, os.listdir("/proc")):
    with contextlib.suppress(OSError):
      fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
      parents[int(name)], states[int(name)] = int(fields[1]), "zombie" if fields[0] == "Z" else "alive"
  found: set[int] = {root}
  while more := {pid for pid, parent in parents.items() if parent in found} - found:
    found |= more
  return {(pid, states.get(pid, "gone")) for pid in found}


def _descriptors(pid: int) -> int:
  try:
    return len(os.listdir(f"/proc/{pid}/fd"))
  except OSError:
    return -1  # a zygote in another user namespace cannot be inspected


def _resident(pid: int) -> int:
  try:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
  except OSError:
    return 0


HONEST = Hostile("honest", "def f(x):\n  return 42\n", 1, "passed", ("assert f(1) == 42",))


def run(tier: str, names: list[str]) -> None:
  from srpo_jax.rewards.code import CodeJudge
  from srpo_jax.sandbox.client import SandboxOptions

  judge = CodeJudge("tags", SandboxOptions(min_tier="unsafe", tier=tier, slots=1, timeout_s=LIMIT_S))
  sandbox = judge.start()
  verdict(judge, HONEST, {})  # warm-up
  host = Host(tier, sandbox.pids())
  try:
    print(json.dumps({"tier": sandbox.tier, "missing": sandbox.missing, "uid": os.getuid()}), flush=True)
    for line in HOSTILE:
      if names and line.name not in names:
        continue
      reply, seconds = verdict(judge, line, host.facts)
      left = host.left()
      after, _ = verdict(judge, HONEST, {})
      row = {"name": line.name, "correct": reply.correct, "reason": reply.reason, "seconds": seconds, "left": left}
      row |= {"next": after.correct, "restarts": sandbox.restarts, "same": sandbox.pids()[0] == host.facts["pid"]}
      print(json.dumps(row), flush=True)
      host.clean()
  finally:
    host.close()
    judge.close()


def verdict(judge, line: Hostile, facts: dict):
  from srpo_jax.types import ScoreRequest

  tests = line.problem_tests(facts)
  request = ScoreRequest("x", "", f"</think><answer>```python\n{line.program}\n```</answer>", True, "code", None, tests)
  found, done = [], threading.Event()

  def take(reply) -> None:
    found.append(reply)
    done.set()

  judge.check(request)
  begin = time.monotonic()
  judge.submit(request, take)
  if not done.wait(600):
    raise TimeoutError(f"no verdict on {line.name}")
  return found[0], time.monotonic() - begin


if __name__ == "__main__":
  tier, uid, *names = sys.argv[1:]
  os.environ["SRPO_SECRET"] = "SECRET"
  if os.getuid() == 0 and int(uid) == 0:
    with OuterGroup():
      run(tier, names)
  else:
    if os.getuid() != int(uid):
      become(int(uid))
    run(tier, names)
