"""Control groups (version 1 or 2) that bound the tasks and the memory of a slot, where this process may create them."""

import contextlib
import fcntl
import os
import re
from pathlib import Path

_PREFIX = "srpo-sandbox"
_FIRST_DESCRIPTOR = 50
_FILES = {  # controller -> (limit file in version 2, limit file in version 1)
  "pids": ("pids.max", "pids.max"),
  "memory": ("memory.max", "memory.limit_in_bytes"),
}


class Groups:
  """Control groups of one slot, at most one per controller."""

  def __init__(self, name: str, *, tasks: int, memory: int):
    """Creates the groups that this process may create and lists the others in `missing`."""
    self._paths: list[Path] = []
    self.missing: list[str] = []
    values = {"pids": tasks, "memory": memory}
    for controller, value in values.items():
      try:
        self._make(controller, f"{_PREFIX}-{os.getpid()}-{name}", value)
      except OSError as error:
        self.missing.append(f"cgroup {controller} ({error.strerror})")

  def _make(self, controller: str, name: str, value: int) -> None:
    error: OSError = FileNotFoundError(2, "not mounted")
    for base, version in _bases(controller):
      path = base / name
      try:
        path.mkdir(exist_ok=True)
        (path / _FILES[controller][2 - version]).write_text(str(value))
        if path not in self._paths:
          self._paths.append(path)
        return
      except OSError as problem:
        error = problem
        if path not in self._paths:
          with contextlib.suppress(OSError):
            path.rmdir()
    raise error

  def open(self) -> list[int]:
    """Returns open descriptors of the groups' process lists. Writing `0` to one moves the writer into that group.

    Their numbers are high, so that they do not collide with the descriptors that a child receives. The caller closes
    them.
    """
    found = []
    for path in self._paths:
      low = os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
      found.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR))
      os.close(low)
    return found

  def remove(self) -> None:
    """Removes the groups. A group that still contains a process stays."""
    for path in self._paths:
      with contextlib.suppress(OSError):
        path.rmdir()

  def remains(self) -> bool:
    return any(path.exists() for path in self._paths)


def remove_stale() -> None:
  """Removes the groups of supervisors that were killed before they could remove them."""
  for controller in _FILES:
    for base, _ in _bases(controller):
      for path in base.glob(f"{_PREFIX}-*"):
        pid = path.name[len(_PREFIX) + 1 :].partition("-")[0]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
          with contextlib.suppress(OSError):
            path.rmdir()


def _bases(controller: str) -> list[tuple[Path, int]]:
  """Returns the folders in which a group of this controller may be created, with their version, best first."""
  try:
    groups = Path("/proc/self/cgroup").read_text()
    mounts = Path("/proc/self/mountinfo").read_text()
  except OSError:
    return []
  return folders(controller, groups, mounts)


def folders(controller: str, groups: str, mounts: str) -> list[tuple[Path, int]]:
  """Returns the same as `_bases`, given the contents of /proc/self/cgroup and /proc/self/mountinfo."""
  own = _own_paths(groups)
  found = []
  for line in mounts.splitlines():
    left, _, right = line.partition(" - ")
    root, point = map(_unescaped, left.split()[3:5])
    kind, _, options = right.split()[:3]
    version = {"cgroup": 1, "cgroup2": 2}.get(kind)
    if version is None or (version == 1 and controller not in options.split(",")):
      continue
    inside = own.get(controller if version == 1 else "", "/")
    below = os.path.relpath(inside, root) if inside.startswith(root) else "."
    found += [(Path(point) / below, version), (Path(point), version)]
  return list(dict.fromkeys((Path(os.path.normpath(path)), version) for path, version in found))


def _own_paths(groups: str) -> dict[str, str]:
  """Maps each controller to this process's group. The version 2 group has the empty name as its key."""
  paths = {}
  for line in groups.splitlines():
    _, controllers, path = line.split(":", 2)
    paths.update(dict.fromkeys(controllers.split(","), path))
  return paths


def _unescaped(field: str) -> str:
  return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
