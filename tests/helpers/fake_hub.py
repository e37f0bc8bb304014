"""Stand-in for the Hugging Face hub, with the part of its HTTP API that `snapshot_download` and `model_info` use.

A repository has commits, branches, and optionally a token that it wants. `Hub.cut` cuts one file off after some bytes,
as a broken connection does. `Hub.requests` records every request.
"""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants

from srpo_jax.model import folder
from tests.helpers.paths import ROOT

TOKEN = "hf_right"
CALL = """
import sys
from srpo_jax.model.folder import model_folder
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging
start_logging()
run_cli(lambda args: print(model_folder(*args)))
"""


@dataclasses.dataclass
class Repository:
  """A model on the hub.

  Attributes:
    commits: commit -> path -> content.
    branches: branch or tag -> commit.
    gated: files are served only to TOKEN.
    private: the repository exists only for TOKEN.
  """

  commits: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
  branches: dict[str, str] = dataclasses.field(default_factory=dict)
  gated: bool = False
  private: bool = False

  def push(self, files: dict[str, bytes], branch: str = "main") -> str:
    """Adds a commit to a branch and returns its 40 hex digits."""
    commit = hashlib.sha1(repr(sorted(files.items())).encode() + str(len(self.commits)).encode()).hexdigest()
    self.commits[commit], self.branches[branch] = dict(files), commit
    return commit


@dataclasses.dataclass
class Hub:
  """All repositories, by owner/name, and the faults to make.

  Attributes:
    cut: path -> number of bytes after which the connection breaks, once.
    status: HTTP status of every answer. 0: the right one.
    fails_after_cut: the hub answers 503 once a file has been cut off.
    requests: (method, path, Authorization or "", Range or "") of every request.
  """

  url: str = ""
  repositories: dict[str, Repository] = dataclasses.field(default_factory=dict)
  cut: dict[str, int] = dataclasses.field(default_factory=dict)
  status: int = 0
  fails_after_cut: bool = False
  requests: list[tuple[str, str, str, str]] = dataclasses.field(default_factory=list)

  def fetched(self) -> list[str]:
    """Returns the names of the files that were read, in order, and forgets all requests."""
    names = [path.split("/resolve/")[1].partition("/")[2] for method, path, *_ in self.requests if method == "GET"
             and "/resolve/" in path]  # fmt: skip
    self.requests.clear()
    return names

  def env(self, home: Path, **more: str) -> dict[str, str]:
    """Returns the environment of a process that uses this hub, with its cache in `home`."""
    kept = {
      name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS"))
    }
    return kept | {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more

  def call(self, home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Calls `model_folder` in a process of its own, as a command would."""
    command = [sys.executable, "-c", CALL, *args]
    return subprocess.run(command, cwd=ROOT, env=self.env(home, **env), capture_output=True, text=True, timeout=120)


class Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  disable_nagle_algorithm, wbufsize = True, -1
  hub: Hub

  def log_message(self, *_: Any) -> None:
    pass

  def do_GET(self) -> None:
    self._answer()

  def do_HEAD(self) -> None:
    self._answer()

  def _answer(self) -> None:
    path = unquote(urlsplit(self.path).path)
    told, asked = self.headers.get("Authorization", ""), self.headers.get("Range", "")
    self.hub.requests.append((self.command, path, told, asked))
    if self.hub.status:
      return self._send(self.hub.status, {}, b"")
    found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path)
    if found:
      return self._describe(found[1], found[2] or "revision", found[3] or "main", told)
    found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
    if found:
      return self._file(found[1], found[2], found[3], told, asked)
    return self._send(404, {}, b"")

  def _find(self, name: str, revision: str, told: str) -> tuple[str, dict[str, bytes]] | None:
    """Returns a commit with its files, or answers with the hub's error."""
    repository = self.hub.repositories.get(name)
    if told not in ("", f"Bearer {TOKEN}"):
      self._send(401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b"")
    elif repository is None or (repository.private and not told):
      self._send(404 if told else 401, {"X-Error-Code": "RepoNotFound"}, b"")
    elif (commit := repository.branches.get(revision, revision)) not in repository.commits:
      self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
    else:
      return commit, repository.commits[commit]
    return None

  def _describe(self, name: str, kind: str, revision: str, told: str) -> None:
    found = self._find(name, revision, told)
    if found is None:
      return
    commit, files = found
    described: Any = {"id": name, "sha": commit, "private": False, "tags": [], "siblings": []}
    if kind == "tree":
      described = [
        {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for path, data in files.items()
      ]
    self._send(200, {"Content-Type": "application/json"}, json.dumps(described).encode())

  def _file(self, name: str, revision: str, path: str, told: str, asked: str) -> None:
    found = self._find(name, revision, told)
    if found is None:
      return
    commit, files = found
    if self.hub.repositories[name].gated and not told:
      return self._send(401, {"X-Error-Code": "GatedRepo", "X-Repo-Commit": commit}, b"")
    if path not in files:
      return self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b"")
    data = files[path]
    headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
    start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
    if start:
      headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    cut = self.hub.cut.pop(path, None) if self.command == "GET" else None
    if cut is not None and self.hub.fails_after_cut:
      self.hub.status = 503
    self._send(206 if start else 200, headers, data[start:], cut)

  def _send(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(body[:cut])
    self.wfile.flush()
    if cut is not None:
      self.close_connection = True


@contextlib.contextmanager
def serve_hub() -> Iterator[Hub]:
  """Serves an empty hub on a free port of this machine."""
  hub = Hub()
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"hub": hub}))
  server.daemon_threads = True
  hub.url = f"http://127.0.0.1:{server.server_address[1]}"
  thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
  thread.start()
  try:
    yield hub
  finally:
    server.shutdown()
    server.server_close()
    thread.join()


def use_here(hub: Hub, monkeypatch: Any, cache: Path) -> None:
  """Points this process to a hub for one test. huggingface_hub reads its environment only when it is imported."""
  constants = huggingface_hub.constants
  monkeypatch.setattr(constants, "ENDPOINT", hub.url)
  monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
  monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
  forget()


def forget() -> None:
  """Forgets the folders found so far, as a new process has."""
  folder._folder.cache_clear()


def folder_files(place: Path) -> dict[str, bytes]:
  """Returns the content of every file of a folder by its relative path."""
  return {str(f.relative_to(place)): f.read_bytes() for f in sorted(place.rglob("*")) if f.is_file()}
