"""Startup of a child under bwrap, which is a fresh interpreter and reads its job from an inherited file."""

import importlib
import json
import os
import sys
from typing import Any

from srpo_jax.sandbox import guest, interpreter, tiers

JOB = 4  # file descriptor to read the job from
COMMAND = 'import sys; sys.path.insert(0, "/srpo"); from srpo_jax.sandbox import boot; boot.main()'


def pack(place: tiers.Place, job: dict[str, Any]) -> bytes:
  """Encodes the message that `main` reads."""
  return json.dumps({"place": place.packed(), "job": job}).encode()


def main() -> None:
  """Applies the confinement that bwrap does not provide, then runs the job. Never returns."""
  try:
    with open(JOB, "rb") as file:
      message = json.loads(file.read())
    place = tiers.Place.unpacked(message["place"], groups=())
    sys.path += dict.fromkeys(os.path.dirname(folder) for folder in place.paths.packages)
    tiers.lock(place, processes=place.limits.processes)
  except BaseException as error:
    os.write(guest.RESULTS, f"E{type(error).__name__}: {error}".encode())
    os._exit(70)
  os.environ.clear()
  if (
    any(os.path.basename(folder) == "numpy" for folder in place.paths.packages) and "numpy" in message["job"]["program"]
  ):
    importlib.import_module("numpy")  # so that it can be seeded
  interpreter.seed()
  guest.run(message["job"])
