"""Small object store with the part of Google Cloud Storage's JSON API that gcsfs and TensorStore use.

Objects are written whole (in one request or a resumable upload), read by ranges, listed by prefix, copied and deleted.
There are no appends, renames or folders. `Store.requests` counts the requests by kind.
"""

import collections
import contextlib
import email
import email.policy
import http.server
import itertools
import json
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Store:
  """Objects of all buckets. Only buckets whose names start with `bucket` exist."""

  def __init__(self) -> None:
    self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}  # (bucket, name) -> bytes, generation
    self.uploads: dict[str, tuple[tuple[str, str], dict[str, str], bytearray]] = {}
    self.requests: collections.Counter[str] = collections.Counter()
    self.generations, self.lock = itertools.count(1), threading.RLock()

  def names(self, prefix: str = "") -> list[str]:
    """Returns the bucket/name of every object that starts with `prefix`, sorted."""
    with self.lock:
      return sorted(n for n in map("/".join, self.objects) if n.startswith(prefix))

  def read(self, path: str) -> bytes:
    bucket, _, name = path.partition("/")
    return self.objects[bucket, name][0]


class Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  disable_nagle_algorithm, wbufsize = True, -1  # otherwise each body waits about 40 ms for the client's ACK
  store: Store

  def log_message(self, *_: Any) -> None:
    pass

  def do_GET(self) -> None:
    self._answer()

  def do_POST(self) -> None:
    self._answer()

  def do_PUT(self) -> None:
    self._answer()

  def do_DELETE(self) -> None:
    self._answer()

  def _answer(self) -> None:
    url = urlsplit(self.path)
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    length = self.headers.get("Content-Length")
    body = self.rfile.read(int(length)) if length else self._chunked()
    with self.store.lock:
      status, headers, answer = self._route(url.path, query, body)
    if isinstance(answer, dict):
      answer, headers = json.dumps(answer).encode(), headers | {"Content-Type": "application/json"}
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    if status not in (204, 304):
      self.send_header("Content-Length", str(len(answer)))
    self.end_headers()
    if status not in (204, 304):
      self.wfile.write(answer)
    self.wfile.flush()

  def _chunked(self) -> bytes:
    body = b""
    while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
      body += self.rfile.read(size)
      self.rfile.readline()
    return body

  def _route(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
    match = re.fullmatch(r"(?:/(upload|download))?/storage/v1/b/([^/]+)(?:/o(?:/(.*))?)?", path)
    if not match:
      return 404, {}, {"error": {"code": 404, "message": f"no such path {path}"}}
    kind, bucket, name = match[1], match[2], match[3]
    if not bucket.startswith("bucket"):
      return _missing(f"bucket {bucket}")
    if kind == "upload":
      return self._upload(bucket, query, body)
    if name is None:
      return self._list(bucket, query) if "/o" in path.removeprefix("/storage/v1/b/") else (200, {}, {"name": bucket})
    if "/rewriteTo/b/" in name or "/copyTo/b/" in name:
      source, _, target = re.split(r"/(rewriteTo|copyTo)/b/", name)
      to_bucket, _, to_name = target.partition("/o/")
      if (bucket, unquote(source)) not in self.store.objects:
        return _missing(source)
      made = self._put((to_bucket, unquote(to_name)), self.store.objects[bucket, unquote(source)][0])
      self.store.requests["copy"] += 1
      return 200, {}, {"done": True, "resource": made}
    key = bucket, unquote(name)
    if key not in self.store.objects:
      return _missing(unquote(name))
    data, generation = self.store.objects[key]
    if self.command == "DELETE":
      self.store.requests["delete"] += 1
      del self.store.objects[key]
      return 204, {}, b""
    if not _condition_holds(query, generation):
      return 412, {}, {"error": {"code": 412, "message": "condition not met"}}
    if query.get("ifGenerationNotMatch") == str(generation):
      return 304, {}, b""
    if query.get("alt") != "media":
      return 200, {}, self._describe(key)
    self.store.requests["read"] += 1
    headers = {"X-Goog-Generation": str(generation), "ETag": f'"{generation}"', "Content-Type": "application/x"}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
    if not asked:
      return 200, headers, data
    start = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
    stop = min(len(data), int(asked[2]) + 1 if asked[1] and asked[2] else len(data))
    if start >= len(data):
      return 416, headers | {"Content-Range": f"bytes */{len(data)}"}, b""
    return 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop]

  def _list(self, bucket: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    self.store.requests["list"] += 1
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    items, prefixes = [], set()
    for key in sorted(self.store.objects):
      if key[0] == bucket and key[1].startswith(prefix) and key[1] >= query.get("startOffset", ""):
        if query.get("endOffset") and key[1] >= query["endOffset"]:
          continue
        rest = key[1][len(prefix) :]
        if delimiter and delimiter in rest:
          prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
        else:
          items.append(self._describe(key))
    start, size = int(query.get("pageToken", 0)), min(int(query.get("maxResults", 1000)), 1000)
    found: dict[str, Any] = {"kind": "storage#objects", "items": items[start : start + size]}
    if start == 0:
      found["prefixes"] = sorted(prefixes)
    if start + size < len(items):
      found["nextPageToken"] = str(start + size)
    return 200, {}, found

  def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
    if "upload_id" in query:
      return self._resume(query["upload_id"], body)
    if query["uploadType"] == "resumable":
      name = query.get("name") or json.loads(body)["name"]
      self.store.uploads[str(next(self.store.generations))] = (bucket, name), query, bytearray()
      host, id_ = self.headers["Host"], list(self.store.uploads)[-1]
      where = f"http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id_}"
      return 200, {"Location": where}, {}
    if query["uploadType"] == "multipart":
      head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
      described, media = email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts()
      name, body = json.loads(described.get_content())["name"], media.get_payload(decode=True)
    else:
      name = query["name"]
    return self._finish((bucket, name), query, body)

  def _resume(self, id_: str, body: bytes) -> tuple[int, dict[str, str], Any]:
    key, query, held = self.store.uploads[id_]
    held += body
    if self.headers.get("Content-Range", "").endswith("/*"):
      return 308, {"Range": f"bytes=0-{len(held) - 1}"} if held else {}, b""
    del self.store.uploads[id_]
    return self._finish(key, query, bytes(held))

  def _finish(self, key: tuple[str, str], query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
    if not _condition_holds(query, self.store.objects[key][1] if key in self.store.objects else 0):
      return 412, {}, {"error": {"code": 412, "message": "condition not met"}}
    self.store.requests["put"] += 1
    return 200, {}, self._put(key, body)

  def _put(self, key: tuple[str, str], body: bytes) -> dict[str, Any]:
    self.store.objects[key] = body, next(self.store.generations)
    return self._describe(key)

  def _describe(self, key: tuple[str, str]) -> dict[str, Any]:
    data, generation = self.store.objects[key]
    times = dict.fromkeys(("timeCreated", "updated"), "2026-01-01T00:00:00.000Z")
    return {
      "kind": "storage#object",
      "bucket": key[0],
      "name": key[1],
      "size": str(len(data)),
      "generation": str(generation),
      "metageneration": "1",
      "etag": str(generation),
      **times,
    }


def _condition_holds(query: dict[str, str], generation: int) -> bool:
  return query.get("ifGenerationMatch", str(generation)) == str(generation)


def _missing(what: str) -> tuple[int, dict[str, str], Any]:
  return 404, {}, {"error": {"code": 404, "message": f"{what}: not found", "errors": [{"reason": "notFound"}]}}


class Server(http.server.ThreadingHTTPServer):
  daemon_threads = True
  request_queue_size = 128

  def handle_error(self, request: Any, client_address: Any) -> None:
    if not isinstance(sys.exception(), ConnectionError):  # clients disconnect without reading the data they do not need
      super().handle_error(request, client_address)


@contextlib.contextmanager
def serve() -> Iterator[tuple[Store, dict[str, str]]]:
  """Runs a store. Yields it with the environment variables that point gcsfs and TensorStore to it."""
  store = Store()
  server = Server(("localhost", 0), type("Bound", (Handler,), {"store": store}))
  threading.Thread(target=server.serve_forever, daemon=True).start()
  url = f"http://localhost:{server.server_port}"
  try:
    yield store, {"STORAGE_EMULATOR_HOST": url, "TENSORSTORE_GCS_HTTP_URL": url, "FSSPEC_GCS_TOKEN": "anon"}
  finally:
    server.shutdown()
    server.server_close()
