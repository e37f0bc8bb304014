"""The HTTP and gRPC servers in one event loop, and their orderly end."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from srpo_jax.serving.driver import ServingDriver
from srpo_jax.serving.http import make_app
from srpo_jax.serving.servicer import grpc_server
from srpo_jax.utils.errors import InputError

logger = logging.getLogger(__name__)


def bind(host: str, port: int, option: str) -> socket.socket:
  """Returns a TCP socket bound to an address.

  The socket does not listen yet, so that clients are refused until the model is loaded.

  Args:
    option: flag of the command line that an error names.

  Raises:
    InputError: the address is in use or does not belong to this machine.
  """
  try:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
  except OSError as error:
    raise InputError(f"{option}: {host}:{port}: {error.strerror}, expected a free address of this machine") from None
  return sock


def _address(sock: socket.socket) -> str:
  host, port = sock.getsockname()[:2]
  return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


class _HttpServer(uvicorn.Server):
  @contextlib.contextmanager
  def capture_signals(self) -> Iterator[None]:
    yield  # leaves the signals to `serve`, which ends both servers


class Doors:
  """The HTTP and gRPC servers of one driver, in the running event loop.

  Args:
    name: name of the served model.
    http_socket: a bound socket that does not listen yet.
    grpc_address: HOST:PORT.
  """

  def __init__(self, driver: ServingDriver, name: str, http_socket: socket.socket, grpc_address: str):
    self._driver, self._name, self._socket, self._grpc_address = driver, name, http_socket, grpc_address

  async def open(self) -> None:
    """Starts both servers. Raises InputError if an address is in use."""
    try:
      self._socket.listen()
    except OSError as error:  # another process has bound the same address and was the first to listen
      message = f"--port: {_address(self._socket)}: {error.strerror}, expected a free address of this machine"
      raise InputError(message) from None
    self._grpc = grpc_server(self._driver)
    try:
      self.grpc_port = self._grpc.add_insecure_port(self._grpc_address)
    except RuntimeError:
      message = f"--grpc-port: {self._grpc_address} is in use, expected a free address of this machine"
      raise InputError(message) from None
    app = make_app(self._driver, self._name)
    self._http = _HttpServer(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    await self._grpc.start()
    self.http = asyncio.create_task(self._http.serve(sockets=[self._socket]))
    while not (self._http.started or self.http.done()):
      await asyncio.sleep(0.01)
    address = _address(self._socket)
    logger.info("serving %s: HTTP at http://%s/v1, gRPC at %s", self._name, address, self._grpc_address)

  async def close(self, drain_s: float, at_once: asyncio.Event) -> bool:
    """Refuses new requests and finishes those in flight. Returns True if all of them were finished.

    Args:
      drain_s: seconds to finish them.
      at_once: event that ends them early.
    """
    self._driver.draining = True
    self._http.should_exit = True  # closes the listening socket now, and each connection after its answer
    closing: asyncio.Future[Any] = asyncio.gather(self._close_grpc(drain_s), self.http)
    hurried: asyncio.Future[Any] = asyncio.create_task(at_once.wait())
    await asyncio.wait([closing, hurried], timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    finished = closing.done()
    if not finished:
      self._http.force_exit = True
      self._driver.end_open()
      await self._grpc.stop(1)
    await closing
    return finished

  async def _close_grpc(self, drain_s: float) -> None:
    """Closes the gRPC port once no request is open.

    A call that meets a closing gRPC port hangs. While the port is open, the driver refuses the call with a reason.
    """
    while self._driver.unfinished:
      await asyncio.sleep(0.02)
    await self._grpc.stop(drain_s)


async def serve(driver: ServingDriver, doors: Doors, drain_s: float) -> None:
  """Serves until SIGTERM or Ctrl-C, then finishes the requests in flight. A second signal ends them at once.

  Args:
    drain_s: seconds to finish them.

  Raises:
    InputError: an address is in use.
    UnavailableError: a thread of the driver has failed.
  """
  loop, ending, at_once = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

  def signalled() -> None:
    (at_once if ending.is_set() else ending).set()

  def failed() -> None:
    loop.call_soon_threadsafe(ending.set)

  driver.failed = failed
  for number in (signal.SIGTERM, signal.SIGINT):
    loop.add_signal_handler(number, signalled)
  await doors.open()
  if driver.live:
    waiting: asyncio.Future[Any] = asyncio.create_task(ending.wait())
    await asyncio.wait([doors.http, waiting], return_when=asyncio.FIRST_COMPLETED)
  if driver.live:
    logger.info("ending: %d requests in flight are finished first", driver.unfinished)
  if not await doors.close(drain_s, at_once):
    logger.warning("ended before all requests in flight were finished")
  driver.raise_if_failed()
