"""Machine that a plan is made for: its mesh, and the environment in which JAX compiles for it."""

import dataclasses
import os

from srpo_jax.config import Config, make_config
from srpo_jax.planning.chips import Topology
from srpo_jax.utils.errors import InputError


def set_mesh(config: Config, chips: int, name: str) -> tuple[Config, tuple[str, ...]]:
  """Returns the config on `chips` chips, its weights in more parts along `fsdp`, and notes for the reader.

  Raises:
    InputError: the number of chips is not a multiple of the mesh's.
  """
  mesh = config.mesh
  size = mesh.data * mesh.fsdp * mesh.tensor
  if chips % size:
    raise InputError(
      f"--topology: {name} has {chips} chips, expected a multiple of config.mesh: data {mesh.data} x fsdp {mesh.fsdp} "
      f"x tensor {mesh.tensor} = {size}"
    )
  if chips == size:
    return config, ()
  raw = dataclasses.asdict(config)
  raw["mesh"]["fsdp"] = mesh.fsdp * chips // size
  note = f"config.mesh is of {size} chips: planned, and to be launched, with --config.mesh.fsdp={raw['mesh']['fsdp']}"
  return make_config(raw), (note,)


def prepare_jax(topology: Topology | None) -> None:
  """Sets the environment in which JAX finds the devices of a topology. Call it before JAX looks for devices.

  A TPU slice is libtpu's to describe, not this machine's to find. Several GPUs become as many devices of the host.
  """
  if topology is None:
    return
  if topology.chip.platform == "tpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
  elif topology.chips > 1:
    flag = f"--xla_force_host_platform_device_count={topology.chips}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
