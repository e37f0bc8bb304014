"""Tiers: the ways to confine a child, from the strongest to the weakest.

namespaces  own user, pid, mount, ipc, network and uts namespaces, minimal read-only root, small tmpfs, seccomp, ...
bubblewrap  the same namespaces made by `bwrap`, for hosts where only that program may create them; nothing is writable
landlock    Landlock, seccomp and resource limits, under another uid if this process may change it
unsafe      resource limits only

Each tier has a part that runs once in the zygote and a part that runs in every child.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

from srpo_jax.sandbox import interpreter, landlock, limits, linux, root, seccomp
from srpo_jax.sandbox.interpreter import Paths
from srpo_jax.sandbox.limits import Limits

TIERS = ("namespaces", "bubblewrap", "landlock", "unsafe")
FIRST_UID = 1_000_000_000  # first uid for children, which get one uid per slot if the zygote is root
SLOTS = 512  # maximum number of slots of one supervisor
INSIDE_UID = 1000  # uid that a child in a user namespace sees as its own
# Namespaces that each child makes. It stays in the zygote's network namespace, which has no interface and no socket.
# Seccomp lets it open none there. A network namespace for each child would take a tenth of an execution's time.
_OWN_NAMESPACES = linux.CLONE_NEWUSER | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP


@dataclasses.dataclass(frozen=True)
class Place:
  """Settings that a child needs to confine itself."""

  tier: str
  uid: int | None  # uid of the children; None keeps the zygote's
  paths: Paths
  limits: Limits
  groups: tuple[int, ...]  # descriptors of cgroup.procs files

  def packed(self) -> dict[str, Any]:
    """Returns the settings as plain data for `unpacked`, without the descriptors."""
    return {"tier": self.tier, "uid": self.uid, "paths": vars(self.paths), "limits": vars(self.limits)}

  @staticmethod
  def unpacked(data: dict[str, Any], groups: tuple[int, ...]) -> "Place":
    """Returns the settings that were packed, with the given descriptors."""
    paths: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["paths"].items()}
    return Place(data["tier"], data["uid"], Paths(**paths), Limits(**data["limits"]), groups)


def own_uid(tier: str, slot: int, paths: Paths) -> int | None:
  """Returns a uid that only the children of this slot have, or None if they must keep the zygote's uid.

  Must be called in the supervisor, whose process id makes the uids of two sandboxes on a host differ.
  """
  available = _uids()
  if os.geteuid() != 0 or available <= SLOTS:
    return None  # even root may have no other uid to assign inside a user namespace
  if tier == "bubblewrap" and not paths.open_to_all():
    return None  # under another uid, bwrap could not read the files that it must bind
  wanted = os.getpid() * SLOTS + slot
  return FIRST_UID + wanted if available > FIRST_UID + wanted else available - 1 - wanted % (available // 2)


def _uids() -> int:
  """Returns the number of uids in this user namespace, or 0 if it is unknown."""
  with contextlib.suppress(OSError), open("/proc/self/uid_map") as file:
    return max(int(line.split()[0]) + int(line.split()[2]) for line in file)
  return 0


def missing(place: Place) -> list[str]:
  """Names the optional layers of the tier that this host lacks."""
  found = []
  if place.uid is None:
    found.append("own uid")
  elif place.tier == "landlock" and not place.paths.open_to_all():
    found.append("modules beyond the usual ones (the library is not readable under another uid)")
  if not landlock.abi() and place.tier != "unsafe":
    found.append("Landlock")
  if not linux.addresses_fixed():
    found.append("fixed addresses (sets of objects may have another order in each sandbox)")
  return found


def requirement(tier: str) -> str | None:
  """Returns the reason why a tier cannot be tried on this host, or None if it can."""
  if not linux.supported():
    return f"no system call numbers for {linux.MACHINE}"
  if tier == "bubblewrap" and shutil.which("bwrap", path=SEARCH) is None:
    return "no program bwrap"
  if tier == "landlock" and not landlock.abi():
    return "the kernel has no Landlock"
  if tier != "unsafe":
    return seccomp.available()
  return None


SEARCH = "/usr/local/bin:/usr/bin:/bin"


def enter_namespaces() -> None:
  """Makes new namespaces for the children of this process. Called in the process that forks the zygote.

  Raises:
    OSError: The kernel refused.
  """
  if os.geteuid() != 0 or _uids() == 1:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER)
    _map_ids(0, uid, gid)
  linux.unshare(linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET | linux.CLONE_NEWUTS)


def prepare_zygote(place: Place) -> None:
  """Applies the tier's part for the zygote to this process. Raises OSError."""
  linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
  if place.tier == "namespaces":
    root.enter(place.paths)


def child_fork(place: Place) -> Callable[[], int]:
  """Returns the function with which the template forks a child of the zygote, see `linux.sibling_fork`.

  In the tier `namespaces` the child is process 1 of a new pid namespace, which ends with it.
  """
  return linux.sibling_fork(linux.CLONE_NEWPID if place.tier == "namespaces" else 0)


def confine(place: Place) -> None:
  """Confines this process, a child, as the tier requires. Raises OSError if a layer fails."""
  _join_groups(place)
  with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")  # when memory runs out, the kernel should kill a candidate rather than the trainer
  os.setsid()
  uid = place.uid
  if place.tier == "namespaces":
    _own_mounts(place, uid)
  change_uid(uid)
  if place.tier == "namespaces":
    outer = (os.geteuid(), os.getegid())
    linux.unshare(_OWN_NAMESPACES)
    _map_ids(INSIDE_UID, *outer)
  linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # after change_uid, because a change of uid clears this setting
  lock(place, processes=_process_limit(place, uid))


def lock(place: Place, *, processes: int) -> None:
  """Applies the layers that need no privilege: resource limits, capabilities, Landlock and seccomp.

  These are the last steps of every tier. The tier `unsafe` gets only resource limits and no_new_privs.
  """
  limits.apply(place.limits, processes=processes)
  linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
  if place.tier == "unsafe":
    return
  linux.drop_capabilities()
  if landlock.abi():
    writable = ("/tmp",) if place.tier == "namespaces" else ()
    landlock.restrict(_readable(place), writable)
  seccomp.install(seccomp.filter_program(os.getpid()))


def _readable(place: Place) -> tuple[str, ...]:
  return ("/",) if place.tier == "namespaces" else place.paths.readable()


def _join_groups(place: Place) -> None:
  for descriptor in place.groups:
    os.write(descriptor, b"0")


def _own_mounts(place: Place, uid: int | None) -> None:
  """Mounts a /proc that shows only this process and its children, and a small /tmp."""
  linux.unshare(linux.CLONE_NEWNS)
  flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
  try:
    linux.mount("proc", "/proc", "proc", flags, "subset=pid")
  except OSError:  # before Linux 5.8
    linux.mount("proc", "/proc", "proc", flags)
  bounds = f"size={place.limits.file_size},nr_inodes={place.limits.inodes},mode=700,uid={uid or 0},gid={uid or 0}"
  linux.mount("tmp", "/tmp", "tmpfs", flags, bounds)
  os.chdir("/tmp")


def change_uid(uid: int | None) -> None:
  """Changes to `uid` permanently and drops all supplementary groups. None changes nothing."""
  if uid is None:
    return
  os.setgroups([])
  os.setresgid(uid, uid, uid)
  os.setresuid(uid, uid, uid)
  linux.prctl(linux.PR_SET_DUMPABLE, 1)  # otherwise root would still own /proc/self and the id maps were not writable


def _map_ids(inside: int, uid: int, gid: int) -> None:
  with contextlib.suppress(FileNotFoundError), open("/proc/self/setgroups", "w") as file:
    file.write("deny")
  for name, outside in (("uid_map", uid), ("gid_map", gid)):
    with open(f"/proc/self/{name}", "w") as file:
      file.write(f"{inside} {outside} 1")


def _process_limit(place: Place, uid: int | None) -> int:
  """Returns the value for RLIMIT_NPROC.

  The kernel counts all tasks of the uid against it. If children run under the user's own uid, the value therefore
  includes the tasks that the user already runs.
  """
  if place.tier == "namespaces" or uid is not None:
    return place.limits.processes
  return _running(os.getuid()) + place.limits.processes


def _running(uid: int) -> int:
  count = 0
  for name in filter(str.isdigit, os.listdir("/proc")):
    with contextlib.suppress(OSError):
      if os.stat(f"/proc/{name}").st_uid == uid:
        count += len(os.listdir(f"/proc/{name}/task"))
  return count


def bubblewrap_command(place: Place, package: str, bootstrap: str) -> list[str]:
  """Returns the command line that runs the Python code `bootstrap` in an interpreter under bwrap.

  Args:
    place: Settings of the child.
    package: Folder of the package srpo_jax.
    bootstrap: Python code to run.
  """
  command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
  command += ["--unshare-user", "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", "sandbox"]
  if os.geteuid() == 0:
    command += ["--cap-drop", "ALL"]
  for path in (*place.paths.readable(), place.paths.executable):
    command += ["--ro-bind", path, path]
  for folder in place.paths.hidden:
    if not any(name.startswith(folder) for name in place.paths.packages):
      command += ["--tmpfs", folder, "--remount-ro", folder]
  for name in ("__init__.py", "sandbox"):
    command += ["--ro-bind", os.path.join(package, name), f"/srpo/srpo_jax/{name}"]
  command += ["--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc", "--dir", "/tmp", "--remount-ro", "/"]
  command += ["--setenv", *interpreter.HASH_SEED, "--chdir", "/tmp"]
  return [*command, "--", place.paths.executable, *interpreter.FLAGS, "-c", bootstrap]


def bubblewrap_program() -> str:
  """Returns the path of bwrap. Raises FileNotFoundError if it is not installed."""
  path = shutil.which("bwrap", path=SEARCH)
  if path is None:
    raise FileNotFoundError("no program bwrap")
  return path
