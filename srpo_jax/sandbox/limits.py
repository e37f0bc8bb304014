"""Resource limits of one execution."""

import dataclasses
import math
import resource


@dataclasses.dataclass(frozen=True)
class Limits:
  """Hard limits of one execution."""

  test_s: float = 8.0  # processor seconds of one test
  response_s: float = 60.0  # processor seconds of all tests of a response
  backstop: float = 5.0  # wall-clock seconds that a program may take for each processor second that it is allowed
  memory: int = 1 << 30  # bytes of address space; also sets the memory bound of the cgroup where there is one
  output: int = 1 << 20  # bytes of standard output, and separately of results
  file_size: int = 16 << 20  # bytes of one file, and of the whole temporary folder
  inodes: int = 1024  # files and folders in the temporary folder
  open_files: int = 64
  processes: int = 32  # threads, plus processes in a tier that allows them

  def wall(self, processor_s: float) -> float:
    """Returns the wall-clock limit that goes with a limit of processor time, both in seconds."""
    return self.backstop * processor_s


def apply(limits: Limits, *, processes: int) -> None:
  """Sets the soft and hard resource limits of this process."""
  pairs = {
    resource.RLIMIT_AS: limits.memory,
    resource.RLIMIT_CPU: math.ceil(limits.response_s) + 1,
    resource.RLIMIT_FSIZE: limits.file_size,
    resource.RLIMIT_NOFILE: limits.open_files,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 256,
    resource.RLIMIT_NPROC: processes,
  }
  for kind, value in pairs.items():
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
