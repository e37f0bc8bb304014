"""Disk space for a run's files, and how fast a checkpoint is written."""

import contextlib
import os
import shutil
import time
from pathlib import Path

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.utils.paths import is_local

PROBE = 64 << 20  # bytes written to time the disk
SLOW_S = 300.0  # a checkpoint that takes longer holds a preempted run up
GB = 1e9


def checkpoint_bytes(parameters: int, itemsize: int) -> int:
  """Parameters and AdamW's two moments."""
  return 3 * parameters * itemsize


def check(workdir: Path, checkpoint: int, kept: int, rollouts: int) -> list[Finding]:
  """Space and speed of the disk that the workdir is, or will be, on; of an object store neither is known."""
  if not is_local(workdir):
    return [Finding(PASS, "disk space", f"{workdir} is in an object store: neither its room nor its speed is known")]
  folder = nearest(workdir)
  if not folder.is_dir():
    return [Finding(FAIL, "disk space", f"{folder} is no folder", "another --workdir")]
  return [check_space(folder, checkpoint, kept, rollouts), check_speed(folder, checkpoint)]


def check_space(folder: Path, checkpoint: int, kept: int, rollouts: int) -> Finding:
  """Whether a run's files fit.

  Args:
    folder: of the workdir, or the nearest one above that exists.
    checkpoint: bytes of one; one more than `kept` is there while the next is written.
    rollouts: bytes of the run's parquet files, by an estimate.
  """
  needed, free = checkpoint * (kept + 1) + rollouts, shutil.disk_usage(folder).free
  found = (
    f"{free / GB:.1f} GB free in {folder}; {kept} + 1 checkpoints of {checkpoint / GB:.3g} GB and about "
    f"{rollouts / GB:.2g} GB of rollouts need {needed / GB:.3g} GB"
  )
  if needed > free:
    return Finding(FAIL, "disk space", found, "another workdir, or a smaller config.checkpoint.keep")
  if 2 * needed > free:
    return Finding(WARN, "disk space", found, "less than twice of it is free")
  return Finding(PASS, "disk space", found)


def check_speed(folder: Path, checkpoint: int) -> Finding:
  """Writes and removes a file of 64 MiB."""
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
    return Finding(FAIL, "writing", f"{folder}: {error.strerror}", "a folder that can be written")
  seconds = checkpoint / speed
  found = f"{speed / 1e6:.0f} MB/s: about {seconds:.0f} s a checkpoint, behind the next steps"
  if seconds > SLOW_S:
    return Finding(WARN, "writing", found, "a faster disk, or a larger config.checkpoint.every")
  return Finding(PASS, "writing", found)


def nearest(folder: Path) -> Path:
  """The folder itself, or the first place above it that exists."""
  folder = folder.absolute()
  return next(place for place in (folder, *folder.parents) if place.exists())
