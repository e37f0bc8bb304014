"""Both doors in one event loop, and their orderly end."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator

import grpc
import uvicorn

from srpo_jax.errors import InputError
from srpo_jax.serving.http import make_app
from srpo_jax.serving.jetstream import ServingDriver, grpc_server

logger = logging.getLogger(__name__)


def bind(host: str, port: int, option: str) -> socket.socket:
  """A TCP socket on that address, not yet listening: what comes before the model is loaded is refused.

  Raises:
    InputError: an address that is in use or not this machine's.
  """
  try:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
  except (OSError, OverflowError) as error:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise InputError(f"{option}: {host}:{port}: {reason}, expected a free address of this machine") from None
  return sock


class _HttpServer(uvicorn.Server):
  @contextlib.contextmanager
  def capture_signals(self) -> Iterator[None]:
    yield  # they end both doors, so `serve` has them


async def serve(driver: ServingDriver, name: str, http_socket: socket.socket, grpc_address: str, drain_s: float) -> None:
  """Serves until SIGTERM or Ctrl-C, then finishes what is in flight; a second signal ends it at once.

  Args:
    grpc_address: HOST:PORT.
    drain_s: seconds that those in flight have.

  Raises:
    InputError: the gRPC address is in use.
    RuntimeError: a thread of the driver has failed.
  """
  loop, ending, at_once = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

  def told() -> None:
    (at_once if ending.is_set() else ending).set()

  driver.failed = lambda: loop.call_soon_threadsafe(told)
  for number in (signal.SIGTERM, signal.SIGINT):
    loop.add_signal_handler(number, told)
  grpc_door = grpc_server(driver)
  try:
    grpc_door.add_insecure_port(grpc_address)
  except RuntimeError:
    raise InputError(f"--grpc-port: {grpc_address} is in use, expected a free address of this machine") from None
  config = uvicorn.Config(make_app(driver, name), lifespan="off", log_config=None, access_log=False)
  http_door = _HttpServer(config)
  await grpc_door.start()
  serving = asyncio.create_task(http_door.serve(sockets=[http_socket]))
  while not (http_door.started or serving.done()):
    await asyncio.sleep(0.01)
  host, port = http_socket.getsockname()[:2]
  logger.info("serving %s: HTTP at http://%s:%d/v1, gRPC at %s", name, host, port, grpc_address)
  await asyncio.wait({serving, asyncio.create_task(ending.wait())}, return_when=asyncio.FIRST_COMPLETED)
  driver.draining = True
  if driver.error is None:
    logger.info("ending: %d requests in flight are finished first", driver.unfinished)
  await _drain(grpc_door, http_door, serving, at_once, 0 if driver.error else drain_s)
  if driver.error is not None:
    raise RuntimeError(f"serving has failed: {type(driver.error).__name__}: {driver.error}")


async def _drain(
  grpc_door: grpc.aio.Server, http_door: uvicorn.Server, serving: asyncio.Task[None], at_once: asyncio.Event, left: float
) -> None:
  http_door.should_exit = True
  doors = asyncio.gather(grpc_door.stop(left), serving)
  hurried = asyncio.create_task(at_once.wait())
  await asyncio.wait({doors, hurried}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
  if not doors.done():
    logger.warning("ending with requests in flight")
    http_door.force_exit = True
    await grpc_door.stop(0)
  await doors
