"""Results of an unfinished labelling on disk: one folder for all hosts, one file per host.

    OUT.parts/settings.json                   settings that the labels depend on; other settings are refused
    OUT.parts/host_00000_of_00002.jsonl       one line per finished batch of rows

Host b mod hosts labels batch b. The rows that are sampled together, and thus every bit of the labels, do not depend on
the number of hosts or on where one was stopped.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from srpo_jax.training.workdir import read_rows, write_text
from srpo_jax.utils.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
  """Counts of the responses to a row."""

  n: int = 0  # judged responses
  n_correct: int = 0
  n_truncated: int = 0
  n_unjudged: int = 0


@dataclasses.dataclass(frozen=True)
class Parts:
  """Folder of a labelling with `rows` rows in batches of `batch_rows`, distributed over `hosts` hosts."""

  folder: Path
  rows: int
  batch_rows: int
  hosts: int

  def batches(self) -> int:
    return -(-self.rows // self.batch_rows)

  def batch(self, number: int) -> range:
    """Returns the row indices of a batch."""
    return range(number * self.batch_rows, min(self.rows, (number + 1) * self.batch_rows))

  def of_host(self, host: int) -> range:
    """Returns the numbers of the batches that belong to a host."""
    return range(host, self.batches(), self.hosts)

  def left(self, host: int) -> list[int]:
    """Returns the numbers of a host's batches that are not finished."""
    done = self.read(host)
    return [number for number in self.of_host(host) if number not in done]

  @contextlib.contextmanager
  def open(self, host: int) -> Iterator["Part"]:
    """Opens and locks the file of a host. Removes a last line that a kill cut short.

    Raises:
      InputError: another process holds the lock, or a line is not of this labelling.
    """
    file = self._file(host)
    with file.with_suffix(".lock").open("w") as lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except OSError:
        raise InputError(f"{file}: another process is labelling the rows of host {host}") from None
      done = self.read(host)
      write_text(file, "".join(_line(number, tallies) for number, tallies in done.items()))
      with file.open("a") as stream:
        yield Part(stream)

  def read(self, host: int) -> dict[int, list[Tally]]:
    """Returns the finished batches of a host, by number.

    Raises:
      InputError: a line is not of this labelling. The message names the file and the line.
    """
    file = self._file(host)
    found: dict[int, list[Tally]] = {}
    for number, row in enumerate(read_rows(file), 1):
      try:
        batch, tallies = row["batch"], [Tally(*tally) for tally in row["rows"]]
        if type(batch) is not int or batch not in self.of_host(host) or len(tallies) != len(self.batch(batch)):
          raise ValueError
        if not all(type(n) is int and n >= 0 for tally in tallies for n in dataclasses.astuple(tally)):
          raise ValueError
        if any(tally.n_correct > tally.n for tally in tallies):
          raise ValueError
      except (KeyError, TypeError, ValueError):
        raise InputError(f"{file}:{number}: not a batch of this labelling") from None
      found[batch] = tallies
    return found

  def merged(self) -> list[Tally]:
    """Returns the tally of every row.

    Raises:
      InputError: a host has not labelled all its rows. The message names the first such host.
    """
    found: dict[int, list[Tally]] = {}
    for host in range(self.hosts):
      found |= self.read(host)
      missing = [number for number in self.of_host(host) if number not in found]
      if missing:
        rows = sum(len(self.batch(number)) for number in missing)
        raise InputError(f"{self._file(host)}: {rows} rows of host {host} of {self.hosts} are not labelled yet")
    return [tally for number in range(self.batches()) for tally in found[number]]

  def _file(self, host: int) -> Path:
    return self.folder / f"host_{host:05d}_of_{self.hosts:05d}.jsonl"


@dataclasses.dataclass(frozen=True)
class Part:
  """Open file of a host."""

  stream: IO[str]

  def add(self, batch: int, tallies: Sequence[Tally]) -> None:
    """Writes a finished batch and syncs it to disk, so that it survives a kill."""
    self.stream.write(_line(batch, tallies))
    self.stream.flush()
    os.fsync(self.stream.fileno())


def is_parts(folder: Path) -> bool:
  """Returns true if a folder belongs to a labelling, possibly one that was killed while it started."""
  return folder.is_dir() and (
    (folder / "settings.json").is_file() or all(file.name.startswith("settings.") for file in folder.iterdir())
  )


def _line(batch: int, tallies: Sequence[Tally]) -> str:
  return json.dumps({"batch": batch, "rows": [dataclasses.astuple(tally) for tally in tallies]}) + "\n"
