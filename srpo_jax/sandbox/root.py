"""Minimal read-only root file system that shows only the interpreter's files from the host."""

import os
import stat

from srpo_jax.sandbox import linux
from srpo_jax.sandbox.interpreter import Paths

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_PLACE = "/tmp"  # mount point of the new root: a folder that every host has, hidden only in this mount namespace


def enter(paths: Paths) -> None:
  """Moves this process into a minimal root. The process must be in its own mount and pid namespaces.

  Raises:
    OSError: A mount or file operation failed.
  """
  linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
  sources = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (*paths.readable(), *_DEVICES)}
  linux.mount("root", _PLACE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
  for folder in ("proc", "tmp"):
    os.makedirs(f"{_PLACE}/{folder}", exist_ok=True)
  for path in (*paths.library, *paths.system):
    _bind(sources[path], path)
  for folder in paths.hidden:
    linux.mount("none", _PLACE + folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=64k,nr_inodes=64,mode=755")
  for path in paths.packages:  # after the hidden folders, because a package may be inside one
    _bind(sources[path], path)
  for path in _DEVICES:
    _touch(_PLACE + path)
  for number, name in enumerate(("stdin", "stdout", "stderr")):
    os.symlink(f"/proc/self/fd/{number}", f"{_PLACE}/dev/{name}")
  os.symlink("/proc/self/fd", f"{_PLACE}/dev/fd")
  linux.make_read_only(_PLACE)
  for path in _DEVICES:  # after make_read_only, which would disable devices
    _bind(sources[path], path)
  for source in sources.values():
    os.close(source)
  flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
  linux.mount("proc", f"{_PLACE}/proc", "proc", flags)
  linux.pivot_root(_PLACE)


def _bind(source: int, path: str) -> None:
  """Bind-mounts the open file or folder `source` at `path` of the new root."""
  target = _PLACE + path
  if stat.S_ISDIR(os.fstat(source).st_mode):
    os.makedirs(target, exist_ok=True)
  elif not os.path.exists(target):
    _touch(target)
  linux.mount(f"/proc/self/fd/{source}", target, None, linux.MS_BIND | linux.MS_REC)


def _touch(target: str) -> None:
  os.makedirs(os.path.dirname(target), exist_ok=True)
  with open(target, "w"):
    pass
