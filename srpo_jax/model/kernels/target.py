"""The device that the program being traced is compiled for, which is not always one of this machine's.

A plan compiles for a TPU topology on a machine that has none: the mesh of that topology is then the ambient one, and
it knows its devices. `jax.lax.platform_dependent` would settle this later, when the program is lowered, but it traces
every branch at every layer, and a kernel's block sizes and layouts follow the chip before anything is lowered.
"""

import jax


def target_device() -> jax.sharding.AbstractDevice:
  """Platform ("cpu", "gpu", "tpu"), kind and cores of a device of the ambient mesh; without one, the first device.

  Raises:
    ValueError: the ambient mesh is abstract and names no device.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    device = jax.devices()[0]
    # The client of a TPU has named its cores one way or the other.
    cores = getattr(device, "num_cores", None) or getattr(device, "core_count", None)
    return jax.sharding.AbstractDevice(device.device_kind, cores, device.platform)
  if mesh.abstract_device is None:
    raise ValueError(f"the ambient mesh {mesh} names no device, expected a mesh of devices or of a topology's")
  return mesh.abstract_device
