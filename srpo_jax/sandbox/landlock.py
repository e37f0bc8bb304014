"""Landlock, the kernel's access control for unprivileged processes: restricts files, network and signals."""

import ctypes
import os
from collections.abc import Iterable

from srpo_jax.sandbox import linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
_NET_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract unix sockets, signals
_Rules = ctypes.c_uint64 * 3


def abi() -> int:
  """Returns the kernel's Landlock version, or 0 if it has no Landlock."""
  try:
    return linux.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
  except OSError:
    return 0


def _file_rights(version: int) -> int:
  count = 13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16
  return (1 << count) - 1


class _Beneath(ctypes.Structure):
  _pack_ = 1
  _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
  """Restricts this thread for the rest of its life.

  The thread can read only beneath `readable`, write only beneath `writable`, and execute nothing. From Landlock version
  4 on it cannot use TCP. From version 6 on it can neither signal processes outside its Landlock domain nor connect to
  their abstract sockets. The thread must have set no_new_privs. Paths that do not exist are skipped.

  Raises:
    OSError: The kernel refused.
  """
  version = abi()
  rights = _file_rights(version)
  fields = _Rules(rights, _NET_TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
  size = 24 if version >= 6 else 16 if version >= 4 else 8
  ruleset = linux.syscall(_CREATE_RULESET, ctypes.byref(fields), ctypes.c_size_t(size), ctypes.c_uint(0))
  try:
    everything = rights & ~1  # all rights except execution
    for path in readable:
      _allow(ruleset, path, _READ_FILE | _READ_DIR)
    for path in writable:
      _allow(ruleset, path, everything)
    for device in ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"):
      _allow(ruleset, device, rights & (_READ_FILE | _WRITE_FILE | _TRUNCATE))
    linux.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
  finally:
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
  try:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
  except OSError:
    return
  try:
    if not os.path.isdir(path):
      access &= _READ_FILE | _WRITE_FILE | _TRUNCATE
    rule = _Beneath(access, descriptor)
    linux.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint(0))
  finally:
    os.close(descriptor)
