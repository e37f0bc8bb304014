"""Programs that try to harm the host or to reach things outside the sandbox. Each bounds its own harm."""

from tests.helpers.hostile.lines import MARKER, contained, refused

HARMS = (
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
  threading.stack_size(1 << 15)  # small, so that the memory limit is not what stops the threads
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
    return libc.ptrace(0x4206, pid, 0, 0) == 0  # PTRACE_SEIZE, which unlike PTRACE_ATTACH does not stop the process
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
)
