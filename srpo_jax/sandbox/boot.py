"""Startup of a child under bwrap, which is a fresh interpreter and reads its job from an inherited file."""

import json
import os
import sys
from typing import Any

from srpo_jax.sandbox import guest, interpreter, linux, tiers

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
    _load_packages(place.paths.packages, message["job"]["program"])
    linux.wipe_environment()
    os.environ.clear()
    tiers.lock(place, processes=place.limits.processes)
    interpreter.seed()
    guest.hide_own_text()
  except BaseException as error:
    os.write(guest.RESULTS, f"E{type(error).__name__}: {error}".encode())
    os._exit(70)
  guest.run(message["job"])


def _load_packages(folders: tuple[str, ...], program: str) -> None:
  """Imports the allowed packages that a program names. Once locked, this process may not search their folder."""
  os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # more would count against the process limit
  for name in map(os.path.basename, folders):
    if name in program and not name.endswith(".libs"):
      interpreter.load(name)
