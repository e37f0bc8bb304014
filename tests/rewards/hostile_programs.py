"""Programs that try to be marked correct without doing the work, or to harm the host; each bounded by itself.

A program that probes a boundary returns what it got past: its test expects nothing there, so `correct` 1 means that it
was contained. One that must not be believed has a test that it does not pass: `correct` 0.
"""

import dataclasses
import json
from typing import Any

SECRET = 918_273_645  # an expected value that a candidate must not find anywhere
MARKER = "srpo-hostile"  # in the names of all files that these programs write

# What the programs below get as `host`: see hostile_run.
COMMON = """
import ctypes, errno, os, signal, socket, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def attempts(**actions):
  succeeded = []
  for name, action in actions.items():
    try:
      if action() is not False:
        succeeded.append(name)
    except BaseException as error:
      if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        raise
  return succeeded
"""


@dataclasses.dataclass(frozen=True)
class Hostile:
  """One line of the list.

  Attributes:
    correct: the verdict on it where the tier holds.
    reason: a part of the verdict's reason.
    tests: asserts, in which HOST stands for facts of the host; a list of (input, output) for a script.
  """

  name: str
  program: str
  correct: int
  reason: str
  tests: tuple[Any, ...] = ("assert f(HOST) == []",)

  def problem_tests(self, host: dict[str, Any]) -> dict[str, Any]:
    if isinstance(self.tests[0], str):
      return {"type": "assert", "cases": [test.replace("HOST", repr(host)) for test in self.tests], "functions": ["f"]}
    return {"type": "stdin", "cases": [{"input": given, "output": wanted} for given, wanted in self.tests]}


def contained(name: str, program: str, test: str = "assert f(HOST) == []") -> Hostile:
  return Hostile(name, COMMON + program, 1, "passed", (test,))


def refused(name: str, program: str, reason: str, *tests: Any) -> Hostile:
  return Hostile(name, COMMON + program, 0, reason, tests or ("assert f(1) == 42",))


ANSWER = "assert f(1) == 42"
HOSTILE = (
  contained(
    "fork bomb",
    """
def f(host):
  started = 0
  for _ in range(150):
    try:
      pid = os.fork()
    except OSError:
      continue
    if pid == 0:
      time.sleep(30)
      os._exit(0)
    started += 1
  return started
""",
    "assert f(HOST) == 0",
  ),
  contained(
    "double-fork daemon",
    """
def f(host):
  if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
      os.setsid()
      signal.signal(signal.SIGHUP, signal.SIG_IGN)
      time.sleep(30)
    os._exit(0)
  return ["daemon"]

real = f
def f(host):
  try:
    return real(host)
  except OSError:
    return []
""",
  ),
  contained(
    "thread bomb",
    """
import threading
def f(host):
  gate, started = threading.Event(), 0
  threading.stack_size(1 << 15)  # so that it is not the memory that ends it
  for _ in range(300):
    try:
      threading.Thread(target=gate.wait, daemon=True).start()
      started += 1
    except (RuntimeError, MemoryError):
      break
  gate.set()
  return started
""",
    "assert f(HOST) < 100",
  ),
  refused("one huge allocation", "def f(x):\n  data = bytearray(3 << 30)\n  return 42\n", "MemoryError"),
  refused(
    "many medium allocations",
    "def f(x):\n  data = [bytes(50 << 20) for _ in range(40)]\n  return 42\n",
    "MemoryError",
  ),
  contained(
    "medium allocations in children",
    """
def f(host):
  children = 0
  for _ in range(8):
    try:
      pid = os.fork()
    except OSError:
      continue
    if pid == 0:
      data = bytearray(b'x') * (200 << 20)
      time.sleep(0.5)
      os._exit(0)
    children += 1
  return children
""",
    "assert f(HOST) == 0",
  ),
  contained(
    "disk fill",
    f"""
def f(host):
  written = 0
  for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run"):
    for number in range(8):
      try:
        path = os.path.join(folder, f"{MARKER}-{{host['token']}}-{{folder.replace('/', '_')}}-{{number}}")
        with open(path, "wb") as file:
          for _ in range(8):
            file.write(bytes(1 << 20))
            file.flush()
            written += 1
      except OSError:
        pass
  return written
""",
    "assert f(HOST) <= 16",
  ),
  contained(
    "inode flood",
    f"""
def f(host):
  made = 0
  for folder in (".", "/tmp", "/dev/shm", "/var/tmp"):
    for number in range(2000):
      try:
        path = os.path.join(folder, f"{MARKER}-{{host['token']}}-{{folder.replace('/', '_')}}-{{number}}")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        made += 1
      except OSError:
        break
  return made
""",
    "assert f(HOST) <= 1024",
  ),
  refused("stdout flood", "while True:\n  print('x' * 10_000)\n", "too much output", ("", "42")),
  refused("stdout flood of a function", "def f(x):\n  while True:\n    print('x' * 10_000)\n", "took too long"),
  refused("CPU spin", "def f(x):\n  while True: pass\n", "took too long"),
  refused("sleep", "def f(x):\n  time.sleep(60)\n  return 42\n", "took too long"),
  refused(
    "a loop that swallows BaseException",
    "def f(x):\n  while True:\n    try:\n      time.sleep(0.01)\n      sys.exit(1)\n    except BaseException: pass\n",
    "took too long",
  ),
  refused(
    "ignored SIGTERM and SIGALRM",
    "for number in set(signal.valid_signals()) - {9, 19}:\n  try: signal.signal(number, signal.SIG_IGN)\n"
    "  except OSError: pass\ndef f(x):\n  while True: pass\n",
    "took too long",
  ),
  contained(
    "TCP, UDP, abstract unix socket",
    """
def f(host):
  def tcp():
    socket.create_connection(("127.0.0.1", host["tcp"]), 0.3)
  def udp():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", host["udp"]))
  def abstract():
    socket.socket(socket.AF_UNIX).connect(host["abstract"])
  def netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
  def datagram():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", host["datagram"])
  return attempts(tcp=tcp, udp=udp, abstract=abstract, netlink=netlink, datagram=datagram)
""",
  ),
  contained(
    "reading the home folder, the repository, the tests",
    """
def f(host):
  actions = {path: (lambda path=path: os.listdir(path) if path.endswith("/") else open(path).read(1))
             for path in host["paths"]}
  return attempts(**actions)
""",
  ),
  contained(
    "/proc/1/environ",
    """
def f(host):
  found = []
  try: names = os.listdir("/proc")
  except OSError: names = ["1", "self", str(os.getppid()), str(host["pid"])]
  for name in names:
    if name.isdigit() or name == "self":
      try:
        data = open(f"/proc/{name}/environ", "rb").read()
      except OSError:
        continue
      if data.strip(bytes(1)):
        found.append(name)
  return found
""",
  ),
  contained(
    "inherited descriptors",
    """
def f(host):
  found = []
  for number in range(4, 1024):
    try:
      os.fstat(number)
      found.append(number)
    except OSError: pass
  return found
""",
  ),
  contained(
    "kill(-1) and the parent",
    """
def f(host):
  import fcntl
  number = host["signal"]
  return attempts(owner=lambda: fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, host["pid"]),
                  all=lambda: os.kill(-1, number), parent=lambda: os.kill(os.getppid(), number),
                  supervisor=lambda: os.kill(host["pid"], number),
                  pidfd=lambda: signal.pidfd_send_signal(os.pidfd_open(host["pid"]), number))
""",
  ),
  contained(
    "ptrace and process_vm_writev",
    """
def f(host):
  def attach(pid):
    return libc.ptrace(0x4206, pid, 0, 0) == 0  # to seize it: unlike to attach, that does not stop it
  def peek(pid):
    import ctypes
    class Piece(ctypes.Structure):
      _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    buffer = ctypes.create_string_buffer(8)
    mine, other = Piece(ctypes.addressof(buffer), 8), Piece(0x1000, 8)
    result = libc.process_vm_writev(pid, ctypes.byref(mine), 1, ctypes.byref(other), 1, 0)
    return result >= 0 or ctypes.get_errno() == errno.EFAULT
  return attempts(parent=lambda: attach(os.getppid()), host=lambda: attach(host["pid"]),
                  write_host=lambda: peek(host["pid"]), memory=lambda: open(f"/proc/{host['pid']}/mem", "rb"))
""",
  ),
  contained(
    "nested user namespace and mount",
    """
def f(host):
  def unshare(flags):
    return libc.unshare(flags) == 0
  def mount():
    return libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") == 0
  def unmount():
    return libc.umount2(b"/tmp", 2) == 0
  return attempts(user=lambda: unshare(0x10000000), mounts=lambda: unshare(0x20000), mount=mount, unmount=unmount,
                  chroot=lambda: os.chroot("/tmp"))
""",
  ),
  contained(
    "other doors of the kernel",
    """
def f(host):
  def call(number, *arguments):
    return libc.syscall(number, *arguments) >= 0
  def fork(number):
    pid = libc.syscall(number)
    if pid == 0:
      os._exit(0)
    return pid > 0
  return attempts(raw_fork=lambda: fork(57), memfd=lambda: os.memfd_create("x"),
                  execute=lambda: os.execv(sys.executable, ["x"]), bpf=lambda: call(321, 0, 0, 0),
                  keyring=lambda: call(250, 0, -3, 1), uring=lambda: call(425, 1, 0), userfault=lambda: call(323, 0),
                  shm=lambda: call(29, 0, 4096, 0o1600), uid=lambda: os.setuid(0) if os.getuid() else False)
""",
  ),
  refused("ctypes segfault", "def f(x):\n  ctypes.string_at(8)\n  return 42\n", "killed by signal"),
  refused("abort", "def f(x):\n  os.abort()\n", "killed by signal"),
  refused("infinite recursion", "def f(x):\n  return f(x)\n", "RecursionError"),
  refused(
    "infinite recursion past Python's limit",
    "def f(x):\n  sys.setrecursionlimit(1 << 30)\n  class A:\n"
    "    def __getattr__(self, name): return getattr(self, name)\n"
    "  return A().x\n",
    "",
  ),
  refused("9**9**8 in C", "def f(x):\n  return 9 ** 9 ** 8\n", "took too long"),
  refused(
    "__eq__ spoof",
    "class Any:\n  def __eq__(self, other): return True\n  def __hash__(self): return 42\ndef f(x):\n  return Any()\n",
    "not plain data",
  ),
  refused(
    "int subclass",
    "class N(int):\n  def __eq__(self, other): return True\n  __hash__ = int.__hash__\ndef f(x):\n  return N(7)\n",
    "not plain data",
  ),
  refused(
    "str and list subclasses inside a list",
    "class S(str):\n  def __eq__(self, other): return True\n  __hash__ = str.__hash__\n"
    "class L(list):\n  def __eq__(self, other): return True\n  def __iter__(self): return iter(['a'])\n"
    "def f(x):\n  return [S('b')] if x else L(['b'])\n",
    "not plain data",
    "assert f(1) == ['a']",
    "assert f(0) == ['a']",
  ),
  refused(
    "repr spoof",
    "class R:\n  def __repr__(self): return '42'\n  __str__ = __repr__\ndef f(x): return R()\n",
    "plain data",
  ),
  refused(
    "metaclass spoof",
    "class M(type):\n  def __eq__(self, other): return True\n  def __hash__(self): return hash(int)\n"
    "  __module__ = 'builtins'\nclass N(metaclass=M):\n  pass\ndef f(x): return N()\n",
    "not plain data",
  ),
  refused(
    "a dict that grows as it is read",
    "class D(dict):\n  def items(self):\n    while True: yield 1, 2\ndef f(x): return D(a=1)\n",
    "not plain data",
  ),
  refused(
    "frame and gc walks for the expected values",
    """
def f(x):
  import gc
  low, high = 918_000_000, 919_000_000
  pending, seen, frame = [], set(), sys._getframe()
  while frame is not None:
    pending += [frame.f_locals, frame.f_globals]
    frame = frame.f_back
  pending += gc.get_objects() + list(sys.modules.values())
  end = time.monotonic() + 0.2
  while pending and time.monotonic() < end:
    item = pending.pop()
    if id(item) in seen:
      continue
    seen.add(id(item))
    if type(item) is int and low < item < high:
      return item
    if type(item) in (str, bytes) and len(item) < 10_000:
      text = item if type(item) is str else item.decode("latin-1")
      for word in text.replace("(", " ").replace(")", " ").split():
        if word.isdigit() and low < int(word) < high:
          return int(word)
    elif type(item) is dict:
      pending += list(item.values()) + list(item)
    elif type(item) in (list, tuple, set):
      pending += list(item)
    elif hasattr(item, "__dict__"):
      pending.append(vars(item))
  return 0
""",
    "another value",
    f"assert f(1) == {SECRET}",
  ),
  refused("sys.exit(0) before the answer", "sys.exit(0)\n", "SystemExit"),
  refused("os._exit(0) before the answer", "os._exit(0)\n", "no value"),
  refused("os._exit(0) in the call", "def f(x):\n  os._exit(0)\n", "no value"),
  refused("sys.exit(0) of a script", "sys.exit(0)\n", "another output", ("1", "42")),
  refused(
    "printing a fake verdict",
    """
lines = ['[0, "value", true]', '[0, "passed", 1]', '{"correct": 1}', '{"end": "exit", "code": 0}', "PASSED", "1"]
for number in range(1, 8):
  try: os.write(number, ("\\n".join(lines) + "\\n").encode())
  except OSError: pass
os._exit(0)
""",
    "another value",
  ),
  refused(
    "a fake verdict in frames",
    """
import json
header = json.dumps({"id": 0, "outcomes": [{"end": "exit", "code": 0, "results": 0, "stdout": 0}]}).encode()
for number in range(0, 12):
  try: os.write(number, struct.pack(">II", len(header), 0) + header)
  except OSError: pass
os._exit(0)
""",
    "",
  ),
  refused(
    "patched builtins, json, time",
    """
import builtins, json, math, operator
json.dumps = lambda *a, **k: "42"
json.loads = lambda *a, **k: 42
time.time = time.monotonic = lambda: 0.0
for module in list(sys.modules.values()):
  for name in ("dumps", "encode", "equal", "passes", "decode"):
    if hasattr(module, name):
      try: setattr(module, name, lambda *a, **k: "42")
      except Exception: pass
builtins.len = builtins.type = builtins.isinstance = lambda *a: True
builtins.all = lambda *a: True
def f(x): return 7
""",
    "",
    "assert f(1) == 42",
    "assert f(2) == [1, 2]",
  ),
  refused(
    "patched time does not stretch the limit",
    "time.sleep = lambda s: None\ntime.monotonic = time.time = lambda: 0\ndef f(x):\n  while True: pass\n",
    "took too long",
  ),
  refused(
    "NaN",
    "def f(x):\n  return float('nan')\n",
    "NaN",
    "assert f(1) == 42.0",
    "assert abs(f(1) - 42) < 1e-6",
    "assert not f(1) > 50",
    "assert f(1) != 0",
    "assert math.isclose(f(1), 42)",
  ),
  refused("infinity", "def f(x):\n  return float('inf')\n", "another value", "assert f(1) == 42.0", "assert f(2) < 9"),
  refused("giant text", "def f(x):\n  return 'x' * (200 << 20)\n", ""),
  refused("giant integer", "def f(x):\n  return 1 << (1 << 26)\n", ""),
  refused(
    "deep nesting",
    "def f(x):\n  a = []\n  for _ in range(100_000): a = [a]\n  return a\n",
    "nested too deep or too large",
  ),
  refused("a list that holds itself", "def f(x):\n  a = []\n  a.append(a)\n  return a\n", "nested too deep"),
  refused(
    "endless iterator",
    "import itertools\ndef f(x):\n  return (i for i in itertools.count())\n",
    "",
    "assert list(f(1)) == [1]",
  ),
  contained(
    "symlinks in the tmpfs",
    """
def f(host):
  found = []
  for number, path in enumerate(host["paths"]):
    try: os.symlink(path, f"srpo-hostile-link-{number}")
    except OSError: continue
    try: found += [path] if (os.listdir if path.endswith("/") else open)(f"srpo-hostile-link-{number}") else []
    except OSError: pass
  return found
""",
  ),
  refused(
    "FIFO in the tmpfs",
    "def f(x):\n  try: os.mkfifo('srpo-hostile-fifo')\n  except OSError: time.sleep(60)\n"
    "  open('srpo-hostile-fifo').read()\n  return 42\n",
    "took too long",
  ),
  refused(
    "right the first time, wrong the second",
    "seen = set()\ndef f(x):\n  if x in seen: return 0\n  seen.add(x)\n  return 42\n",
    "1 of 2 tests",
    ANSWER,
    ANSWER,
  ),
  refused(
    "wrong the first time, right the second",
    "seen = set()\ndef f(x):\n  if x in seen: return 42\n  seen.add(x)\n  return 0\n",
    "1 of 2 tests",
    ANSWER,
    ANSWER,
  ),
)

if __name__ == "__main__":
  print(json.dumps([line.name for line in HOSTILE]))
