"""Target machine of a plan: its mesh, and the environment in which JAX compiles for it."""

import dataclasses
import os

from srpo_jax.config import Config, make_config
from srpo_jax.planning.chips import Topology
from srpo_jax.utils.errors import InputError


def set_mesh(config: Config, chips: int, name: str) -> tuple[Config, tuple[str, ...]]:
  """Returns the config with `fsdp` enlarged so that its mesh has `chips` chips, and notes for the reader.

  Args:
    name: name of the topology for error messages.

  Raises:
    InputError: the number of chips is not a multiple of the size of the mesh.
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

  For a TPU slice JAX runs on the CPU, and libtpu describes the slice. Several GPUs become as many CPU devices.
  """
  if topology is None:
    return
  if topology.chip.platform == "tpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
  elif topology.chips > 1:
    flag = f"--xla_force_host_platform_device_count={topology.chips}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
