"""Target device of the program being traced, which need not be a device of this machine.

A plan compiles for a TPU topology on a machine that has no TPU. The ambient mesh is then the mesh of that topology, and
it knows its devices. `jax.lax.platform_dependent` would make the choice later, when the program is lowered. But it
traces every branch at every layer, and a kernel's block sizes and layouts depend on the chip before anything is
lowered.
"""

import jax


def target_device() -> jax.sharding.AbstractDevice:
  """Returns platform ("cpu", "gpu", "tpu"), kind and cores of a device of the ambient mesh.

  Without an ambient mesh, describes this process's first device.

  Raises:
    ValueError: the ambient mesh is abstract and names no device.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    device = jax.devices()[0]
    # TPU clients differ in the name of this attribute.
    cores = getattr(device, "num_cores", None) or getattr(device, "core_count", None)
    return jax.sharding.AbstractDevice(device.device_kind, cores, device.platform)
  if mesh.abstract_device is None:
    raise ValueError(f"the ambient mesh {mesh} names no device, expected a mesh of real devices or of a topology")
  return mesh.abstract_device
