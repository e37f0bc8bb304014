"""Silences messages that packages print while they are imported, and keeps them from importing what is not needed."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Notices that TensorFlow prints before absl's log is set up. TF_CPP_MIN_LOG_LEVEL does not apply to them.
_NOTICE = re.compile(rb"WARNING: All log messages before absl::|[IW]0000 |To enable the following")


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
  """Silences imports of jetstream, which loads TensorFlow and sets the root logger to DEBUG on stdout.

  The logger is restored afterwards. TensorFlow's notices are dropped, because nothing here runs on TensorFlow and a
  notice such as `GPU will not be used` would mislead. Other output to standard error is printed after the imports.
  """
  root = logging.getLogger()
  level, handlers = root.level, list(root.handlers)
  with contextlib.ExitStack() as stack:
    if sys.stderr is not None:  # None if the parent process closed it
      stack.enter_context(_without_notices())
    yield
  root.setLevel(level)
  root.handlers[:] = handlers


@contextlib.contextmanager
def hidden(package: str) -> Iterator[None]:
  """Makes an installed package look absent to imports, unless it is imported already."""
  absent = package not in sys.modules
  if absent:
    sys.modules[package] = None  # type: ignore[assignment]
  try:
    yield
  finally:
    if absent:
      del sys.modules[package]


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
  with tempfile.TemporaryFile() as said:
    sys.stderr.flush()
    place = os.dup(2)
    os.dup2(said.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(place, 2)
      os.close(place)
      said.seek(0)
      os.write(2, b"".join(line for line in said if not _NOTICE.match(line)))
