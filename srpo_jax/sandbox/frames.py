"""Messages between the sandbox's own processes.

A message is two lengths, a JSON header and a payload of bytes. Messages are written and read whole.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

_LENGTHS = struct.Struct(">II")
MAX_FRAME = 1 << 30


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
  return lengths(header, len(payload)) + payload


def lengths(header: dict[str, Any], size: int) -> bytes:
  """Returns the start of a message, up to its payload. The caller sends the payload of `size` bytes next."""
  text = json.dumps(header).encode()
  return _LENGTHS.pack(len(text), size) + text


def read(receive: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes] | None:
  """Reads the next message with `receive(n)`, which returns up to n bytes. Returns None at the end of the stream."""
  lengths = _exactly(receive, _LENGTHS.size)
  if lengths is None:
    return None
  text = _exactly(receive, _LENGTHS.unpack(lengths)[0])
  payload = _exactly(receive, _LENGTHS.unpack(lengths)[1])
  return None if text is None or payload is None else (json.loads(text), payload)


def _exactly(receive: Callable[[int], bytes], size: int) -> bytes | None:
  pieces = []
  while size:
    piece = receive(min(size, 1 << 20))
    if not piece:
      return None
    pieces.append(piece)
    size -= len(piece)
  return b"".join(pieces)


class Buffer:
  """Assembles whole messages from bytes that arrive in pieces."""

  def __init__(self) -> None:
    self._data = bytearray()

  def add(self, data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    self._data += data
    found = []
    while len(self._data) >= _LENGTHS.size:
      text, payload = _LENGTHS.unpack_from(self._data)
      end = _LENGTHS.size + text + payload
      if len(self._data) < end:
        break
      header = json.loads(bytes(self._data[_LENGTHS.size : _LENGTHS.size + text]))
      found.append((header, bytes(self._data[_LENGTHS.size + text : end])))
      del self._data[:end]
    return found
