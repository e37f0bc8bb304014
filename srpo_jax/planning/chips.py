"""Published rates of chips, and the chips of a topology.

Rates are the makers' own, for dense bf16. `ici` is the rate of all links of a chip together in one direction, half of
the rate published as bidirectional. `available` is the memory that XLA lets programs use. For chips that libtpu
compiles for, it is the limit in libtpu's own out-of-memory message (libtpu 0.0.42.1). For others it is the published
capacity.
"""

import dataclasses
import math
import os
import re
from typing import Any

from srpo_jax.utils.errors import InputError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """Published rates of one chip. None stands for a rate that nobody publishes."""

  name: str
  platform: str  # tpu | gpu | cpu
  flops: float | None  # FLOP/s, dense bf16
  hbm: float | None  # bytes/s
  ici: float | None  # bytes/s in one direction, all links of the chip together
  capacity: int | None  # bytes of memory, published
  available: int | None  # bytes of memory that programs can use
  source: str


TPUS = {
  "v5p": Chip("v5p", "tpu", 459e12, 2765e9, 600e9, 95 * GIB, int(95.74 * GIB), "cloud.google.com/tpu/docs/v5p"),
  "v6e": Chip("v6e", "tpu", 918e12, 1638e9, 400e9, 32 * GIB, int(31.25 * GIB), "cloud.google.com/tpu/docs/v6e"),
  "v5e": Chip("v5e", "tpu", 197e12, 819e9, 200e9, 16 * GIB, int(15.75 * GIB), "cloud.google.com/tpu/docs/v5e"),
}
GPUS = {
  "a100": Chip("a100", "gpu", 312e12, 2039e9, 300e9, 80 * 10**9, 80 * 10**9, "nvidia.com/en-us/data-center/a100"),
  "h100": Chip("h100", "gpu", 989e12, 3350e9, 450e9, 80 * 10**9, 80 * 10**9, "nvidia.com/en-us/data-center/h100"),
  "l4": Chip("l4", "gpu", 121e12, 300e9, 32e9, 24 * 10**9, 24 * 10**9, "nvidia.com/en-us/data-center/l4"),
  "rtx4090": Chip("rtx4090", "gpu", 165e12, 1008e9, 32e9, 24 * 10**9, 24 * 10**9, "NVIDIA's Ada whitepaper, app. A"),
  "h200": Chip("h200", "gpu", 989e12, 4800e9, 450e9, 141 * 10**9, 141 * 10**9, "nvidia.com/en-us/data-center/h200"),
}
CPU = Chip("cpu", "cpu", None, None, None, None, None, "no published rate: no time is estimated")

# The only shapes of a TPU slice with fewer chips than a host.
_SUB_HOST = {"1x1": [1, 1, 1], "1": [1, 1, 1]}
_ENVIRONMENT = {  # libtpu looks for the metadata and the lock of a TPU machine, and a plan needs neither
  "TPU_SKIP_MDS_QUERY": "1",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_ACCELERATOR_TYPE": "v5p-8",  # describes this machine, not the plan; any known type avoids a warning
  "TPU_MIN_LOG_LEVEL": "3",
  "TPU_STDERR_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """Chips of a run."""

  name: str  # as the user wrote it
  chip: Chip
  chips: int
  shape: str  # 4x4x8 for a TPU slice, a number for GPUs


def parse_topology(text: str) -> Topology:
  """Parses a TPU slice such as `v5p:4x4x8` or `v6e:2x4`, or a number of GPUs such as `h200:1`.

  Raises:
    InputError: the text does not have this form, or the chip is unknown.
  """
  name, _, shape = text.partition(":")
  chip = (TPUS | GPUS).get(name)
  if chip is None or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){0,2}", shape):
    known = ", ".join([*TPUS, *GPUS])
    raise InputError(f"--topology: {text}: expected CHIP:SHAPE such as v5p:4x4x8 or h200:1, CHIP one of {known}")
  if chip.platform == "gpu" and "x" in shape:
    raise InputError(f"--topology: {text}: expected a number of GPUs, such as {name}:8")
  return Topology(text, chip, math.prod(int(n) for n in shape.split("x")), shape)


def tpu_devices(topology: Topology) -> list[Any]:
  """Returns the devices of a TPU slice for libtpu to compile for. This machine need not have them.

  Raises:
    InputError: libtpu is not installed or does not know the slice.
  """
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  try:
    import libtpu  # noqa: F401 (imported here so that its absence is reported before JAX falls back to another platform)
  except ImportError:
    raise InputError(
      f"--topology: {topology.name}: libtpu is not installed, expected `pip install 'srpo-jax[tpu]'` (it compiles for "
      "TPUs on any x86-64 Linux machine)"
    ) from None
  from jax.experimental import topologies

  few = _SUB_HOST.get(topology.shape)
  try:
    found = topologies.get_topology_desc(
      topology.name, platform="tpu", **({"chips_per_host_bounds": few} if few else {})
    )
  except Exception as error:  # JAX maps the status of libtpu to several exception types
    reason = str(error).splitlines()[0]
    raise InputError(f"--topology: {topology.name}: libtpu does not know this slice ({reason})") from None
  devices = list(found.devices)
  if len(devices) != topology.chips:
    raise InputError(
      f"--topology: {topology.name}: has {len(devices)} devices, expected {topology.chips}, one per chip"
    )
  return devices


def chip_of(device: Any) -> Chip:
  """Returns the chip of one of this machine's devices. Its rates are None if it is not in the tables."""
  kind = str(device.device_kind).lower()
  for name, chip in GPUS.items():
    if re.search(rf"\b{name}\b", kind.replace("rtx ", "rtx")):
      return chip
  for name, words in {"v5p": ("v5p", "v5"), "v6e": ("v6 lite", "v6e"), "v5e": ("v5 lite", "v5e")}.items():
    if device.platform == "tpu" and (kind.removeprefix("tpu ") in words):
      return TPUS[name]
  return dataclasses.replace(CPU, name=kind, platform=device.platform)
