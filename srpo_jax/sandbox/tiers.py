"""The ways to confine a child, best first. Each has a part for the zygote, once, and a part for the child, each time.

namespaces  own user, pid, mount, ipc, network and uts namespaces, minimal read-only root, small tmpfs, seccomp, ...
bubblewrap  the same namespaces by `bwrap`, where only that program may make them; nothing is writable
landlock    Landlock, seccomp and resource limits, under another uid where this process may change it
unsafe      resource limits alone
"""

import contextlib
import dataclasses
import os
import shutil
import signal

from srpo_jax.sandbox import landlock, limits, linux, root, seccomp
from srpo_jax.sandbox.interpreter import Paths
from srpo_jax.sandbox.limits import Limits

TIERS = ("namespaces", "bubblewrap", "landlock", "unsafe")
FIRST_UID = 1_000_000_000  # of the uids that children run under, one a slot, where the zygote is root
SLOTS = 512  # at most, of one supervisor
INSIDE_UID = 1000  # how a child in a user namespace sees itself
_OWN_NAMESPACES = (
  linux.CLONE_NEWUSER | linux.CLONE_NEWIPC | linux.CLONE_NEWNET | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
)


@dataclasses.dataclass(frozen=True)
class Place:
  """What a child needs to know to confine itself."""

  tier: str
  uid: int | None  # for the children; None: as the zygote
  paths: Paths
  limits: Limits
  groups: tuple[int, ...]  # descriptors of cgroup.procs files


def own_uid(tier: str, slot: int, paths: Paths) -> int | None:
  """The uid for the children of a slot, which no other process has; None where they must keep that of the zygote.

  The supervisor asks: its process number keeps two sandboxes of one host apart.
  """
  available = _uids()
  if os.geteuid() != 0 or available <= SLOTS:
    return None  # the root of a user namespace may have no other uid to give
  if tier == "bubblewrap" and not paths.open_to_all():
    return None  # bwrap would not find what it must show
  wanted = os.getpid() * SLOTS + slot
  return FIRST_UID + wanted if available > FIRST_UID + wanted else available - 1 - wanted % (available // 2)


def _uids() -> int:
  """How many uids there are in this user namespace."""
  with contextlib.suppress(OSError), open("/proc/self/uid_map") as file:
    return max(int(line.split()[0]) + int(line.split()[2]) for line in file)
  return 0


def missing(place: Place) -> list[str]:
  """The optional layers that this host lacks for the tier."""
  found = []
  if place.uid is None:
    found.append("own uid")
  elif place.tier == "landlock" and not place.paths.open_to_all():
    found.append("modules beyond the usual ones (the library is not readable under another uid)")
  if not landlock.abi() and place.tier != "unsafe":
    found.append("Landlock")
  return found


def requirement(tier: str) -> str | None:
  """Why a tier cannot even be tried here, or None."""
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
  """In the process that forks the zygote: from here on its children are in namespaces of their own. Raises OSError."""
  if os.geteuid() != 0 or _uids() == 1:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER)
    _map_ids(0, uid, gid)
  linux.unshare(linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET | linux.CLONE_NEWUTS)


def prepare_zygote(place: Place) -> None:
  """In the zygote. Raises OSError."""
  linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
  if place.tier == "namespaces":
    root.enter(place.paths)


def fork_child(place: Place, own_pid_namespace: int | None) -> int:
  """Forks; in the tier `namespaces` the child is the first process of a new pid namespace, which ends with it."""
  if place.tier == "namespaces":
    assert own_pid_namespace is not None
    linux.setns(own_pid_namespace, linux.CLONE_NEWPID)  # or a second unshare would be refused
    linux.unshare(linux.CLONE_NEWPID)
  return os.fork()


def confine(place: Place) -> None:
  """In the child: gives up everything that the tier takes away. Raises OSError."""
  _join_groups(place)
  with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")  # short of memory, the kernel ends a candidate rather than the trainer
  os.setsid()
  uid = place.uid
  if place.tier == "namespaces":
    _own_mounts(place, uid)
  change_uid(uid)
  if place.tier == "namespaces":
    outer = (os.geteuid(), os.getegid())
    linux.unshare(_OWN_NAMESPACES)
    _map_ids(INSIDE_UID, *outer)
  linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the uid: changing it clears this
  lock(place, processes=_process_limit(place, uid))


def lock(place: Place, *, processes: int) -> None:
  """The layers that need no privilege: resource limits, capabilities, Landlock, seccomp; the last steps of any tier."""
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
  """A /proc that shows this process alone, and a small /tmp."""
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
  """Becomes `uid`, without groups and for good; None: stays."""
  if uid is None:
    return
  os.setgroups([])
  os.setresgid(uid, uid, uid)
  os.setresuid(uid, uid, uid)
  linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or /proc/self would still be root's, and the id maps could not be written


def _map_ids(inside: int, uid: int, gid: int) -> None:
  with contextlib.suppress(FileNotFoundError), open("/proc/self/setgroups", "w") as file:
    file.write("deny")
  for name, outside in (("uid_map", uid), ("gid_map", gid)):
    with open(f"/proc/self/{name}", "w") as file:
      file.write(f"{inside} {outside} 1")


def _process_limit(place: Place, uid: int | None) -> int:
  """RLIMIT_NPROC counts all that the uid runs: where that is the user's own, room is left for what is there."""
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
  """The command line that runs `bootstrap` in the interpreter under bwrap.

  Args:
    package: the folder of srpo_jax.
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
  return [*command, "--chdir", "/tmp", "--", place.paths.executable, "-I", "-S", "-B", "-c", bootstrap]


def bubblewrap_program() -> str:
  """The path of bwrap. Raises FileNotFoundError."""
  path = shutil.which("bwrap", path=SEARCH)
  if path is None:
    raise FileNotFoundError("no program bwrap")
  return path
