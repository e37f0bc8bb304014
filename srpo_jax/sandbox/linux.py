"""Linux system calls that Python's standard library lacks, called through ctypes."""

import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Callable

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_TID_ADDRESS, PR_CAP_AMBIENT = 36, 38, 40, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# Numbers of the calls made through syscall(2). From 424 on they are the same on every architecture.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CLONE = {"x86_64": 56, "aarch64": 220}
_MOUNT_SETATTR = 442
_AT_RECURSIVE, _AT_EMPTY_PATH = 0x8000, 0x1000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_CAP_VERSION_3 = 0x20080522
_ADDR_NO_RANDOMIZE, _PERSONALITY_QUERY = 0x0040000, 0xFFFFFFFF

_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x00008000, 0x00200000, 0x01000000

_CapabilityHeader, _CapabilitySets = ctypes.c_uint32 * 2, ctypes.c_uint32 * 6  # new types are slow to make

MACHINE = os.uname().machine
_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: object) -> int:
  """Makes a raw system call. Raises OSError if it fails."""
  return _checked(_libc.syscall(ctypes.c_long(number), *arguments), f"syscall {number}")


def _checked(result: int, what: str) -> int:
  if result < 0:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
  return result


def sibling_fork(flags: int) -> Callable[[], int]:
  """Returns a function that copies this process into a new child of this process's parent.

  Only the kernel takes part. What Python or the C library would do at a fork is needed where a process has more than
  one thread, so such a process must not call the function. A call leaves the allocators of this process as they were,
  because it makes as few objects as possible.

  Args:
    flags: CLONE_NEW flags of the namespaces that the new process gets.

  Returns:
    A function that returns the process id, or 0 in the new process. It raises OSError if the kernel refuses.
  """
  thread = ctypes.c_void_p(_thread_id_address())
  flags |= _CLONE_PARENT | signal.SIGCHLD
  if thread:  # the C library keeps the thread's id there and would go on using this process's own
    flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
  number, last = _CLONE[MACHINE], (thread, None) if MACHINE == "x86_64" else (None, thread)
  clone = ctypes.PyDLL(None, use_errno=True).syscall  # holds the interpreter's lock, which the new process needs too
  return lambda: _checked(clone(number, flags, None, None, *last), "clone")


def _thread_id_address() -> int:
  """Returns the address where the C library keeps the id of this process's first thread, or 0 if it is unknown."""
  address = ctypes.c_long(0)
  _libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)  # a kernel without it leaves the 0
  return address.value


def unshare(flags: int) -> None:
  _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
  _checked(_libc.setns(descriptor, flags), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
  encoded = kind.encode() if kind else None
  result = _libc.mount(source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), data.encode())
  _checked(result, f"mount {target}")


def unmount(target: str, flags: int) -> None:
  _checked(_libc.umount2(target.encode(), flags), f"umount {target}")


def make_read_only(target: str) -> None:
  """Makes a mount and everything below it read-only, without devices or set-uid programs. Needs Linux 5.12."""
  attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
  at_cwd = ctypes.c_int(-100)
  size = ctypes.c_size_t(32)
  syscall(_MOUNT_SETATTR, at_cwd, target.encode(), ctypes.c_uint(_AT_RECURSIVE), ctypes.byref(attributes), size)


def pivot_root(root: str) -> None:
  """Makes the mount point `root` the root of this mount namespace and detaches the old root."""
  os.chdir(root)
  syscall(_PIVOT_ROOT[MACHINE], b".", b".")
  unmount(".", MNT_DETACH)
  os.chdir("/")


def prctl(option: int, value: int = 0, third: int = 0) -> None:
  _checked(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), 0, 0), f"prctl {option}")


def fix_addresses() -> None:
  """Makes the programs that this process executes start at the same addresses every time, if the host allows it."""
  current = _libc.personality(ctypes.c_ulong(_PERSONALITY_QUERY))
  if current >= 0:
    _libc.personality(ctypes.c_ulong(current | _ADDR_NO_RANDOMIZE))


def addresses_fixed() -> bool:
  """Returns True if `fix_addresses` has worked in this process or in one that it descends from."""
  current = _libc.personality(ctypes.c_ulong(_PERSONALITY_QUERY))
  return current >= 0 and bool(current & _ADDR_NO_RANDOMIZE)


def wipe_environment() -> None:
  """Overwrites the variables that this process was started with, which would otherwise stay in /proc/PID/environ."""
  variables = ctypes.POINTER(ctypes.c_void_p).in_dll(_libc, "environ")
  for variable in itertools.takewhile(bool, (variables[index] for index in itertools.count())):
    ctypes.memset(variable, 0, len(ctypes.string_at(variable)))


def drop_capabilities() -> None:
  """Clears all capability sets of this thread.

  Under no_new_privs no capability can return, because only executing a file could grant one.
  """
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
  header, nothing = _CapabilityHeader(_CAP_VERSION_3, 0), _CapabilitySets()
  syscall(_CAPSET[MACHINE], ctypes.byref(header), ctypes.byref(nothing))


def supported() -> bool:
  """Returns True on Linux machines whose system call numbers this module knows."""
  return sys.platform == "linux" and MACHINE in _CAPSET
