"""Reads JSON Lines and JSON files, and writes files and folders that appear only when they are complete."""

import contextlib
import gzip
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from srpo_jax.utils.errors import InputError


def json_rows(path: Path) -> Iterator[tuple[str, Any]]:
  """Yields the rows of a JSON Lines file, each with its place ("train.jsonl:7"). Blank lines are skipped.

  A file ending in .gz is unpacked. A file that begins with [ is read as an array of rows.

  Raises:
    InputError: there is no such file, a line is not JSON in UTF-8, or the archive is damaged.
  """
  try:
    # Read as bytes, because text lines would also end at characters that JSON allows in a string.
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      begins = file.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n")
      yield from (_array if begins.startswith(b"[") else _lines)(path, file)
  except (OSError, EOFError, zlib.error) as error:
    raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _lines(path: Path, file: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
  for number, line in enumerate(file, start=1):
    if line.strip():
      try:
        row = parse_line(line)
      except InputError as error:
        raise InputError(f"{path}:{number}: {error}") from error
      yield f"{path}:{number}", row


def _array(path: Path, file: io.BufferedIOBase) -> Iterator[tuple[str, Any]]:
  try:
    rows = parse_line(file.read())
  except InputError as error:
    raise InputError(f"{path}: of one array of rows: {error}") from error
  yield from ((f"{path}: row {index}", row) for index, row in enumerate(rows))


def parse_line(line: bytes) -> Any:
  """Returns the value in a line of a JSON Lines file.

  Raises:
    InputError: the line is not JSON in UTF-8. The message does not name the place.
  """
  try:
    return json.loads(line.decode("utf-8-sig"))
  except UnicodeDecodeError as error:
    raise InputError(f"expected UTF-8, got the byte 0x{error.object[error.start]:02x}") from error
  except json.JSONDecodeError as error:
    raise InputError(f"expected one JSON object, but {error.msg} at column {error.colno}") from error
  except (ValueError, RecursionError) as error:  # an integer with thousands of digits, or thousands of nested brackets
    raise InputError("expected one JSON object of ordinary size") from error


def read_json(file: Path) -> dict[str, Any]:
  """Returns the object in a JSON file. Raises InputError if the file is not JSON or not an object."""
  try:
    raw = json.loads(file.read_bytes())
  except (ValueError, RecursionError) as error:
    raise InputError(f"{file}: not JSON ({error})") from None
  if not isinstance(raw, dict):
    raise InputError(f"{file}: expected a JSON object")
  return raw


def is_text(value: Any) -> bool:
  """Returns True if a value is valid Unicode text.

  JSON can escape half of a surrogate pair, which no tokenizer accepts.
  """
  return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
  """Yields a temporary folder, which is renamed to `target` if the block succeeds and removed otherwise.

  An existing folder `target` is replaced.
  """
  partial = target.with_name(f".{target.name}.{os.getpid()}")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    yield partial
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[IO[str]]:
  """Yields a file to write, which replaces `target` if the block succeeds. Otherwise `target` stays as it was.

  Raises:
    InputError: the file cannot be written.
  """
  partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
  try:
    with partial.open("w", encoding="utf-8") as stream:
      yield stream
    partial.replace(target)
  except OSError as error:
    raise InputError(f"{target}: {error.strerror}, expected a place to write") from error
  finally:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
