"""Keeps quiet what packages say while they are imported."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow's, before absl's log is set up: TF_CPP_MIN_LOG_LEVEL does not hold for them.
_NOTICE = re.compile(rb"WARNING: All log messages before absl::|[IW]0000 |To enable the following")


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
  """Around imports of jetstream, which loads TensorFlow and sets the root logger to DEBUG on stdout.

  The logger is put back as it was. TensorFlow's notices are left out: `GPU will not be used` speaks of TensorFlow, on
  which nothing here runs. All else that is written to standard error meanwhile follows after the imports.
  """
  root = logging.getLogger()
  level, handlers = root.level, list(root.handlers)
  with contextlib.ExitStack() as stack:
    if sys.stderr is not None:  # None: it was closed by whoever started this
      stack.enter_context(_without_notices())
    yield
  root.setLevel(level)
  root.handlers[:] = handlers


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
