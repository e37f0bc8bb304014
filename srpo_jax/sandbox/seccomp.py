"""System call filter that allows the calls of an ordinary Python program. Other calls fail with EPERM.

Programs may start threads but not processes, and may send signals only to themselves. Socket pairs are their only
sockets. Tracing, namespaces, mounts, memory files, file locks, keys, BPF and io_uring are refused. So is what changes a
file without opening it, such as `chmod`. Landlock does not cover it, and a program may own files of the host.
"""

import ctypes
import errno
import functools
import struct
from collections.abc import Iterable

from srpo_jax.sandbox import linux

# Numbers of the x86_64 calls that are allowed with any arguments.
_FILES = {
  "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
  "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23,
  "dup": 32, "dup2": 33, "sendfile": 40, "fsync": 74, "fdatasync": 75,
  "ftruncate": 77, "getdents": 78, "getcwd": 79, "chdir": 80, "fchdir": 81, "rename": 82, "mkdir": 83, "rmdir": 84,
  "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "readlink": 89, "umask": 95,
  "mknod": 133, "statfs": 137, "fstatfs": 138, "getdents64": 217, "fadvise64": 221, "epoll_create": 213,
  "epoll_wait": 232, "epoll_ctl": 233, "openat": 257, "mkdirat": 258, "mknodat": 259, "newfstatat": 262,
  "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "readlinkat": 267,
  "faccessat": 269, "pselect6": 270, "ppoll": 271, "splice": 275, "tee": 276, "epoll_pwait": 281,
  "fallocate": 285, "eventfd2": 290, "epoll_create1": 291, "dup3": 292, "pipe2": 293, "preadv": 295, "pwritev": 296,
  "renameat2": 316, "copy_file_range": 326, "preadv2": 327, "pwritev2": 328, "statx": 332, "close_range": 436,
  "faccessat2": 439,
}  # fmt: skip
_MEMORY = {"mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "msync": 26, "mincore": 27, "madvise": 28}
_TIME = {
  "nanosleep": 35, "getitimer": 36, "alarm": 37, "setitimer": 38, "gettimeofday": 96, "times": 100, "time": 201,
  "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230,
}  # fmt: skip
_SELF = {
  "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "pause": 34, "getpid": 39,
  "exit": 60, "wait4": 61, "uname": 63, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "getuid": 102, "getgid": 104,
  "geteuid": 107, "getegid": 108, "getppid": 110, "getpgrp": 111, "getgroups": 115, "getresuid": 118,
  "getresgid": 120, "getpgid": 121, "getsid": 124, "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130,
  "sigaltstack": 131, "getpriority": 140, "arch_prctl": 158, "gettid": 186, "futex": 202, "sched_getaffinity": 204,
  "set_tid_address": 218, "restart_syscall": 219, "exit_group": 231, "waitid": 247, "set_robust_list": 273,
  "get_robust_list": 274, "socketpair": 53, "recvfrom": 45, "shutdown": 48, "getrandom": 318,
  "membarrier": 324, "rseq": 334, "getcpu": 309,
}  # fmt: skip
_KILL, _TKILL, _TGKILL, _CLONE, _PRCTL, _PRLIMIT, _CLONE3 = 62, 200, 234, 56, 157, 302, 435
_PR_NAMES = (15, 16)  # PR_SET_NAME and PR_GET_NAME, which threads use
_IOCTL, _FCNTL, _SENDTO = 16, 72, 44
_TERMINAL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO*CLEX
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ and F_GETPIPE_SZ. Others make the kernel
# send a signal, or lock a file, which another program could see.
_OWN_COMMANDS = (0, 1, 2, 3, 4, 1030, 1031, 1032)

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = (
  linux.CLONE_NEWNS
  | linux.CLONE_NEWCGROUP
  | linux.CLONE_NEWUTS
  | linux.CLONE_NEWIPC
  | linux.CLONE_NEWUSER
  | linux.CLONE_NEWPID
  | linux.CLONE_NEWNET
)

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_DENY = _ERRNO | errno.EPERM
_NUMBER, _ARCH, _FIRST, _SECOND, _FIFTH = 0, 4, 16, 24, 48  # offsets in struct seccomp_data
_SECCOMP_SET_MODE_FILTER, _SECCOMP_CALL = 1, 317


def available() -> str | None:
  """Returns None if the filter can be installed here, otherwise the reason why not."""
  if linux.MACHINE != "x86_64":
    return f"no table of system calls for {linux.MACHINE}"
  try:
    with open("/proc/self/status") as file:
      known = "Seccomp:" in file.read()
  except OSError as error:
    return f"/proc/self/status: {error.strerror}"
  return None if known else "the kernel has no seccomp"


@functools.lru_cache(maxsize=2)  # children that are process 1 of their namespace share the copy made in the zygote
def filter_program(pid: int) -> bytes:
  """Returns the filter, an array of struct sock_filter, for a process that sees itself as `pid`."""
  code: list[tuple[int, int, int, int]] = [
    (_LOAD, 0, 0, _ARCH),
    (_EQUAL, 1, 0, _AUDIT_ARCH_X86_64),
    (_RETURN, 0, 0, _KILL_PROCESS),
    (_LOAD, 0, 0, _NUMBER),
    (_AT_LEAST, 0, 1, _X32_BIT),
    (_RETURN, 0, 0, _KILL_PROCESS),
    (_EQUAL, 0, 1, _CLONE3),  # a filter cannot read its flags, which are in memory; the C library falls back to clone
    (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
  ]
  code += _masked(_CLONE, _CLONE_THREAD | _CLONE_NAMESPACES, _CLONE_THREAD)
  for number, allowed in (
    (_KILL, (pid,)),
    (_TGKILL, (pid,)),
    (_PRLIMIT, (0, pid)),
    (_PRCTL, _PR_NAMES),
  ):
    code += _argument(number, _FIRST, allowed)
  code += _argument(_IOCTL, _SECOND, _TERMINAL)
  code += _argument(_FCNTL, _SECOND, _OWN_COMMANDS)
  code += _without_address(_SENDTO)
  for first, last in _ranges({**_FILES, **_MEMORY, **_TIME, **_SELF}.values()):
    code += [
      (_AT_LEAST, 1, 0, first),
      (_RETURN, 0, 0, _DENY),  # the ranges ascend, so no later range contains the number
      (_AT_LEAST, 1, 0, last + 1),
      (_RETURN, 0, 0, _ALLOW),
    ]
  code.append((_RETURN, 0, 0, _DENY))
  return b"".join(struct.pack("<HBBI", *line) for line in code)


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
  """Returns (first, last) of each run of consecutive numbers, in ascending order.

  A filter made of ranges is half as long and loads twice as fast as one made of single numbers.
  """
  found: list[tuple[int, int]] = []
  for number in sorted(numbers):
    if found and found[-1][1] == number - 1:
      found[-1] = (found[-1][0], number)
    else:
      found.append((number, number))
  return found


def _argument(number: int, offset: int, allowed: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
  """Returns code that allows a call if the low half of an argument has an allowed value.

  The low half suffices because process ids, options and commands are 32-bit ints.
  """
  body = [(_LOAD, 0, 0, offset)]
  for value in allowed:
    body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
  body.append((_RETURN, 0, 0, _DENY))
  return [(_EQUAL, 0, len(body), number), *body]


def _without_address(number: int) -> list[tuple[int, int, int, int]]:
  """Returns code that allows a call only without a destination address.

  With an address, `sendto` on a datagram socket of a pair could reach any socket file of the host, not only the pair's
  other end.
  """
  body = [
    (_LOAD, 0, 0, _FIFTH),
    (_EQUAL, 0, 3, 0),
    (_LOAD, 0, 0, _FIFTH + 4),
    (_EQUAL, 0, 1, 0),
    (_RETURN, 0, 0, _ALLOW),
    (_RETURN, 0, 0, _DENY),
  ]
  return [(_EQUAL, 0, len(body), number), *body]


def _masked(number: int, mask: int, value: int) -> list[tuple[int, int, int, int]]:
  body = [
    (_LOAD, 0, 0, _FIRST),
    (_AND, 0, 0, mask),
    (_EQUAL, 0, 1, value),
    (_RETURN, 0, 0, _ALLOW),
    (_RETURN, 0, 0, _DENY),
  ]
  return [(_EQUAL, 0, len(body), number), *body]


class _Program(ctypes.Structure):
  _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def install(program: bytes) -> None:
  """Installs the filter for this thread and for everything it starts. The thread must have set no_new_privs.

  Raises:
    OSError: The kernel refused.
  """
  value = _Program(len(program) // 8, program)
  linux.syscall(_SECCOMP_CALL, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), ctypes.byref(value))
