"""Checks of the disk space for a run's files, and of the time to write a checkpoint."""

import contextlib
import os
import shutil
import time
from pathlib import Path

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.utils.paths import is_local

PROBE = 64 << 20  # bytes written to measure the disk's speed
SLOW_S = 300.0  # a checkpoint that takes longer delays the end of a preempted run
GB = 1e9


def checkpoint_bytes(parameters: int, itemsize: int) -> int:
  """Returns the size of a checkpoint: the parameters and AdamW's two moments."""
  return 3 * parameters * itemsize


def check(workdir: Path, checkpoint: int, kept: int, rollouts: int) -> list[Finding]:
  """Checks space and speed of the disk of the workdir, which need not exist yet. An object store is not checked."""
  if not is_local(workdir):
    return [Finding(PASS, "disk space", f"{workdir} is in an object store: neither its room nor its speed is known")]
  folder = nearest(workdir)
  if not folder.is_dir():
    return [Finding(FAIL, "disk space", f"{folder} is not a folder", "choose another --workdir")]
  return [check_space(folder, checkpoint, kept, rollouts), check_speed(folder, checkpoint)]


def check_space(folder: Path, checkpoint: int, kept: int, rollouts: int) -> Finding:
  """Checks that a run's files fit on the disk.

  Args:
    folder: the workdir, or its nearest parent that exists.
    checkpoint: bytes of a checkpoint.
    kept: number of checkpoints that the run keeps. There is one more while the next is being written.
    rollouts: estimated bytes of the run's parquet files.
  """
  needed, free = checkpoint * (kept + 1) + rollouts, shutil.disk_usage(folder).free
  found = (
    f"{free / GB:.1f} GB free in {folder}; {kept} + 1 checkpoints of {checkpoint / GB:.3g} GB and about "
    f"{rollouts / GB:.2g} GB of rollouts need {needed / GB:.3g} GB"
  )
  if needed > free:
    return Finding(FAIL, "disk space", found, "another workdir, or a smaller config.checkpoint.keep")
  if 2 * needed > free:
    return Finding(WARN, "disk space", found, "less than twice that space is free")
  return Finding(PASS, "disk space", found)


def check_speed(folder: Path, checkpoint: int) -> Finding:
  """Measures the write speed with a file of 64 MiB, which is removed."""
  file = folder / f".srpo_jax-doctor-{os.getpid()}"
  block = os.urandom(1 << 20)
  try:
    started = time.perf_counter()
    with file.open("wb") as out:
      for _ in range(PROBE >> 20):
        out.write(block)
      out.flush()
      os.fsync(out.fileno())
    speed = PROBE / (time.perf_counter() - started)
    file.unlink()
  except OSError as error:
    with contextlib.suppress(OSError):  # a read-only file system refuses this too
      file.unlink()
    return Finding(FAIL, "writing", f"{folder}: {error.strerror}", "choose a folder that can be written")
  seconds = checkpoint / speed
  found = f"{speed / 1e6:.0f} MB/s: about {seconds:.0f} s a checkpoint, behind the next steps"
  if seconds > SLOW_S:
    return Finding(WARN, "writing", found, "a faster disk, or a larger config.checkpoint.every")
  return Finding(PASS, "writing", found)


def nearest(folder: Path) -> Path:
  """Returns the folder itself, or its nearest parent that exists."""
  folder = folder.absolute()
  return next(place for place in (folder, *folder.parents) if place.exists())
