"""Messages between our own processes: a JSON header and bytes, each behind its length. Written whole, read whole."""

import json
import struct
from collections.abc import Callable
from typing import Any

_LENGTHS = struct.Struct(">II")
MAX_FRAME = 1 << 30


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
  text = json.dumps(header).encode()
  return _LENGTHS.pack(len(text), len(payload)) + text + payload


def read(receive: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes] | None:
  """The next message by a `receive(n)` that returns up to n bytes; None at the end of the stream."""
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
  """Whole messages out of bytes that arrive in pieces."""

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
