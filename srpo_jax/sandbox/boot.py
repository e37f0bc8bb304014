"""Startup of a child under bwrap, which is a fresh interpreter and reads its job from an inherited file."""

import json
import os
import sys
from typing import Any

from srpo_jax.sandbox import guest, tiers
from srpo_jax.sandbox.interpreter import Paths
from srpo_jax.sandbox.limits import Limits

JOB = 4  # file descriptor to read the job from
COMMAND = 'import sys; sys.path.insert(0, "/srpo"); from srpo_jax.sandbox import boot; boot.main()'


def pack(place: tiers.Place, job: dict[str, Any], case: int) -> bytes:
  """Encodes the message that `main` reads."""
  paths, limits = vars(place.paths), vars(place.limits)
  return json.dumps({"paths": paths, "limits": limits, "job": job, "case": case}).encode()


def main() -> None:
  """Applies the confinement that bwrap does not provide, then runs the job. Never returns."""
  try:
    with open(JOB, "rb") as file:
      message = json.loads(file.read())
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in message["paths"].items()}
    paths = Paths(**fields)
    place = tiers.Place("bubblewrap", None, paths, Limits(**message["limits"]), ())
    sys.path += dict.fromkeys(os.path.dirname(folder) for folder in paths.packages)
    tiers.lock(place, processes=place.limits.processes)
  except BaseException as error:
    os.write(guest.RESULTS, f"E{type(error).__name__}: {error}".encode())
    os._exit(70)
  guest.run(message["job"], message["case"])
