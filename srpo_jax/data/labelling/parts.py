"""What a labelling has found so far, on disk: one folder for all hosts, one file a host.

    OUTPUT.parts/settings.json            what the labels depend on; another value is refused
    OUTPUT.parts/host_00000_of_00002.jsonl    a line a finished batch of rows

The rows are dealt to hosts by batch, batch b to host b mod hosts, so that what is sampled together, and with it every
bit of the labels, does not depend on how many hosts there are or on where one was stopped.
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
  """The responses to one row."""

  n: int = 0  # judged
  n_correct: int = 0
  n_truncated: int = 0
  n_unjudged: int = 0


@dataclasses.dataclass(frozen=True)
class Parts:
  """The folder of a labelling: `rows` rows in batches of `batch_rows`, dealt to `hosts` hosts."""

  folder: Path
  rows: int
  batch_rows: int
  hosts: int

  def batches(self) -> int:
    return -(-self.rows // self.batch_rows)

  def batch(self, number: int) -> range:
    """The row indices of a batch."""
    return range(number * self.batch_rows, min(self.rows, (number + 1) * self.batch_rows))

  def of_host(self, host: int) -> range:
    """The batches of a host."""
    return range(host, self.batches(), self.hosts)

  def left(self, host: int) -> list[int]:
    """The batches of a host that are not finished."""
    done = self.read(host)
    return [number for number in self.of_host(host) if number not in done]

  @contextlib.contextmanager
  def open(self, host: int) -> Iterator["Part"]:
    """The file of one host, locked: a line that a kill cut short is taken off."""
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
    """The finished batches of a host.

    Raises:
      InputError: naming the file and the line that is not of this labelling.
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
    """What was found on every row.

    Raises:
      InputError: naming the first host whose rows are not all there.
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
  """An open file of one host."""

  stream: IO[str]

  def add(self, batch: int, tallies: Sequence[Tally]) -> None:
    """Writes a finished batch; it outlives a kill from here on."""
    self.stream.write(_line(batch, tallies))
    self.stream.flush()
    os.fsync(self.stream.fileno())


def is_parts(folder: Path) -> bool:
  """Whether a folder is that of a labelling, perhaps of one killed while it began."""
  return folder.is_dir() and (
    (folder / "settings.json").is_file() or all(file.name.startswith("settings.") for file in folder.iterdir())
  )


def _line(batch: int, tallies: Sequence[Tally]) -> str:
  return json.dumps({"batch": batch, "rows": [dataclasses.astuple(tally) for tally in tallies]}) + "\n"
