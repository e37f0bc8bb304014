"""Bytes and collectives of a compiled program, counted over its optimized HLO.

XLA's own cost analysis counts a loop's body once, and counts a slice of a stacked array as the whole array. Here a loop
counts as often as it runs (`loops`), and an operand that is only read in slices counts as those slices. Arrays in
on-chip memory (S(1) and the like) cost no HBM traffic.

All counts are per device, because an SPMD module is the program of each device.
"""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Mapping, Sequence

from srpo_jax.planning.hlo import Instruction, Module, Piece
from srpo_jax.planning.loops import trips

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")
FREE = frozenset(  # opcodes that move no data by themselves
  ["parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"]
  + ["opt-barrier", "domain", "add-dependency", "while", "conditional", "call", "async-update"]
  + [f"{kind}-done" for kind in ("copy", "slice", "async", "send", "recv", *COLLECTIVES)]
)


@dataclasses.dataclass(frozen=True)
class Traffic:
  """Traffic of one device over a whole run of the program."""

  hbm: float  # bytes read and written
  collectives: Mapping[str, tuple[float, float]]  # kind -> (count, bytes that a device receives over the links)

  @property
  def wire(self) -> float:
    """Bytes that a device receives over the links."""
    return sum(received for _, received in self.collectives.values())

  def times(self, n: float) -> "Traffic":
    return Traffic(self.hbm * n, {k: (c * n, b * n) for k, (c, b) in self.collectives.items()})

  def plus(self, other: "Traffic") -> "Traffic":
    kinds = {**self.collectives}
    for kind, (count, received) in other.collectives.items():
      before = kinds.get(kind, (0.0, 0.0))
      kinds[kind] = before[0] + count, before[1] + received
    return Traffic(self.hbm + other.hbm, kinds)


NOTHING = Traffic(0.0, {})


class Counter:
  """Counts the traffic of a module's computations and keeps the result of each."""

  def __init__(self, module: Module, *, while_trips: int | None = None, fill: float = 1.0):
    """
    Args:
      while_trips: trip count of loops whose end depends on data. If the condition of such a loop also has a limit, the
        limit counts instead. None raises ValueError at a loop that needs it.
      fill: fraction of the cache's positions in use, for kernels that read only those.
    """
    self.module, self.while_trips, self.fill = module, while_trips, fill
    self.computation = functools.cache(self._computation)
    self.reads = functools.cache(self._reads)

  def total(self) -> Traffic:
    """Returns the traffic of one run of the module."""
    return self.computation(self.module.entry)

  def _computation(self, name: str) -> Traffic:
    instructions = self.module.computations[name]
    total = NOTHING
    for instruction in instructions.values():
      total = total.plus(self._one(instruction, instructions))
    return total

  def _one(self, i: Instruction, around: Mapping[str, Instruction]) -> Traffic:
    if i.opcode == "while":
      body, condition = i.attribute("body"), i.attribute("condition")
      assert body and condition
      inside = self.computation(body).plus(self.computation(condition))
      return inside.times(trips(self.module, i, around, self.while_trips))
    if i.opcode == "conditional":
      names = re.findall(r"(?:true_computation|false_computation)=%?([\w.\-]+)", i.text)
      listed = re.search(r"branch_computations=\{([^}]*)\}", i.text)
      names += re.findall(r"%?([\w.\-]+)", listed.group(1)) if listed else []
      return max((self.computation(n) for n in names), key=lambda t: t.hbm + t.wire, default=NOTHING)
    if i.opcode == "call":
      target = i.attribute("to_apply")
      return self.computation(target) if target else NOTHING
    if i.opcode == "async-start":
      target = i.attribute("calls")
      return self.computation(target) if target else NOTHING
    if i.opcode in FREE or 'custom_call_target="AllocateBuffer"' in i.text:
      return NOTHING
    return Traffic(self._bytes(i, around), self._collectives(i))

  def _collectives(self, i: Instruction) -> dict[str, tuple[float, float]]:
    kind = i.opcode.removesuffix("-start")
    if kind in COLLECTIVES:
      return {kind: (1.0, received(kind, i, self.module.devices))}
    if i.opcode != "fusion":
      return {}
    found: dict[str, tuple[float, float]] = {}
    name = i.attribute("calls") or ""
    for inner in self.module.computations.get(name, {}).values():
      for kind, (count, wire) in self._collectives(inner).items():
        if kind == "all-reduce" and "scatter" in name:  # on TPU a reduce-scatter appears as an all-reduce and a slice
          kind, wire = "reduce-scatter", wire / 2
        before = found.get(kind, (0.0, 0.0))
        found[kind] = before[0] + count, before[1] + wire
    return found

  def _bytes(self, i: Instruction, around: Mapping[str, Instruction]) -> float:
    """Returns the HBM bytes that one instruction reads and writes."""
    operands = [around[name] for name in i.operands if name in around]
    if i.opcode == "fusion":
      called = i.attribute("calls")
      if called is not None and called in self.module.computations:
        reads = sum((self._operand(o, called, place) for place, o in enumerate(operands)), start=0.0)
        return reads + self._written(i, called)
    if i.opcode in ("dynamic-slice", "slice", "gather", "slice-start"):
      return i.hbm_bytes * (1 if i.opcode == "slice-start" else 2)
    if i.opcode == "dynamic-update-slice":
      return 2 * (operands[1].hbm_bytes or operands[1].bytes) if operands and operands[0].hbm_bytes else 0.0
    if i.opcode == "scatter":
      return 3 * operands[-1].bytes
    if i.opcode == "custom-call" and "(paged_attention)" in i.text:
      return paged_bytes(i, operands, self.fill)
    if i.opcode == "custom-call" and "splash_" in i.text:
      return sum(o.hbm_bytes for o in operands) + i.hbm_bytes + splash_rereads(i, operands)
    if i.opcode.endswith("-start") and len(i.shape) > 1:  # shape is (operand, result, synchronization flags)
      return sum(o.hbm_bytes for o in operands) + (i.shape[1].bytes if i.shape[1].hbm else 0.0)
    return sum(o.hbm_bytes for o in operands) + i.hbm_bytes

  def _operand(self, operand: Instruction, called: str, place: int) -> float:
    if not operand.hbm_bytes:
      return 0.0
    sliced = self.reads(called, place)
    return operand.hbm_bytes if sliced is None else min(sliced, operand.hbm_bytes)

  def _reads(self, computation: str, place: int) -> float | None:
    """Returns the bytes that a fused computation reads of a parameter, or None if it reads all of it."""
    instructions = self.module.computations[computation]
    parameter = next(
      (i for i in instructions.values() if i.opcode == "parameter" and i.text.split(")")[0] == str(place)), None
    )
    if parameter is None:
      return None
    total, names = 0.0, {parameter.name}
    for i in instructions.values():  # operands come before their users
      used = [at for at, name in enumerate(i.operands) if name in names]
      if not used:
        continue
      if i.opcode in ("bitcast", "reshape", "copy") and not i.root:
        names.add(i.name)
      elif i.opcode in ("dynamic-slice", "slice", "gather") and used == [0]:
        total += i.bytes
      elif i.opcode in ("dynamic-update-slice", "scatter") and used == [0]:
        continue  # updated in place, and the written bytes count as the result
      elif i.opcode == "fusion" and (called := i.attribute("calls")) in self.module.computations:
        inner = [self.reads(called, at) for at in used]
        if any(n is None for n in inner):
          return None
        total += sum(n for n in inner if n is not None)
      else:
        return None
    return total

  def _written(self, i: Instruction, called: str) -> float:
    """Returns the bytes that a fusion writes. A result that is an updated operand counts only the update."""
    instructions = self.module.computations[called]
    root = next((inner for inner in instructions.values() if inner.root), None)
    if root is None:
      return i.hbm_bytes
    roots = [instructions.get(n) for n in root.operands] if root.opcode == "tuple" else [root]
    if len(roots) != len(i.shape):
      return i.hbm_bytes
    return sum(self._updated(r, instructions, p) for r, p in zip(roots, i.shape, strict=True) if p.hbm)

  def _updated(self, root: Instruction | None, around: Mapping[str, Instruction], piece: Piece) -> float:
    while root is not None and root.opcode in ("bitcast", "copy", "reshape", "convert") and root.operands:
      root = around.get(root.operands[0])
    if root is None:
      return piece.bytes
    if root.opcode == "dynamic-update-slice":
      update = around.get(root.operands[1])
      return update.bytes if update is not None else piece.bytes
    if root.opcode == "scatter":
      update = around.get(root.operands[-1])
      return 2 * update.bytes if update is not None else piece.bytes
    if root.opcode == "fusion":
      called = root.attribute("calls")
      inner = self.module.computations.get(called or "", {})
      last = next((n for n in inner.values() if n.root), None)
      if last is not None and last.opcode != "tuple":
        return self._updated(last, inner, piece)
    return piece.bytes


def received(kind: str, i: Instruction, devices: int) -> float:
  """Returns the bytes that each device receives over the links in a ring, the fewest that the collective needs.

  For n devices, each with a shard of b bytes:

  - An all-gather receives (n - 1) b.
  - A reduce-scatter of arrays of n b receives (n - 1) b.
  - An all-reduce of arrays of n b receives 2 (n - 1) b, because it is both of these.
  - An all-to-all of n b receives (n - 1) b.
  - A permute receives the whole array.
  """
  whole = max((piece.bytes for piece in i.shape), default=0.0)
  if i.opcode in ("all-reduce", "all-to-all") or (i.opcode == "all-gather" and len(i.shape) > 1):
    whole = i.bytes
  if kind == "collective-permute":
    return i.shape[0].bytes
  n = group_size(i.text, devices)
  if kind == "all-reduce":
    return 2 * whole * (n - 1) / n
  if kind == "reduce-scatter":  # the result is one shard
    return i.shape[-1 if i.opcode.endswith("-start") else 0].bytes * (n - 1)
  return whole * (n - 1) / n


def splash_rereads(i: Instruction, operands: Sequence[Instruction]) -> float:
  """Returns the HBM bytes that a splash kernel reads in addition to reading its operands once.

  The causal mask has n (n + 1) / 2 visited blocks per head. For each the kernel reads two blocks of [block, head
  features]: keys and values, or queries and output gradients in the kernel that computes dk and dv.

  Raises:
    ValueError: the instruction does not have the block sizes and operands of a splash kernel.
  """
  block = re.search(r'block_(?:q|q_dkv|q_dq)\\*": (\d+)', i.text)
  arrays = [o.shape[0] for o in operands if len(o.shape) == 1 and len(o.shape[0].dims) >= 3 and o.shape[0].kind != "s8"]
  if block is None or len(arrays) < 2:
    raise ValueError(f"{i.name}: expected the block sizes and the operands of a splash kernel")
  query, key = arrays[0], arrays[1]
  *rows, length, dim = query.dims
  n = -(-length // int(block.group(1)))
  item = query.bytes / math.prod(query.dims)
  visited = 2 * math.prod(rows) * n * (n + 1) / 2 * int(block.group(1)) * dim * item
  return max(0.0, visited - 2 * key.bytes)


def paged_bytes(i: Instruction, operands: Sequence[Instruction], fill: float) -> float:
  """Returns the HBM bytes of the paged decode kernel.

  For k and v these are the fraction `fill` of the listed pages. Everything else counts once. The listed pages belong to
  one layer, even if the arrays hold all layers.

  Raises:
    ValueError: the instruction does not have the caches and the list of pages of a paged attention kernel.
  """
  caches = [o.shape[0] for o in operands if len(o.shape) == 1 and len(o.shape[0].dims) == 4]
  listed = max((math.prod(o.shape[0].dims) for o in operands if o.shape[0].kind == "s32"), default=0)
  if len(caches) < 2 or not listed:
    raise ValueError(f"{i.name}: expected the caches and the pages of a paged attention kernel")
  caches = sorted(caches, key=lambda piece: -piece.bytes)[:2]
  page, dim = caches[0].dims[-2:]
  read = 2 * listed * page * dim * caches[0].bytes / math.prod(caches[0].dims)
  others = sum(o.hbm_bytes for o in operands) - sum(piece.bytes for piece in caches if piece.hbm)
  return fill * read + others + i.hbm_bytes


def group_size(text: str, devices: int) -> int:
  """Returns the number of devices that take part together in one collective.

  Args:
    text: text of the instruction.
    devices: number of devices of the module, used if the text names no groups.
  """
  grid = re.search(r"replica_groups=\[(\d+),(\d+)\]", text)
  if grid:
    return int(grid.group(2))
  named = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", text)
  if named:
    sizes = {k: int(v) for k, v in re.findall(r"'([^']+)'=(\d+)", named.group(1))}
    return math.prod(sizes[axis] for axis in re.findall(r"'([^']+)'", named.group(2)))
  listed = re.search(r"replica_groups=\{\{([\d,]*)\}", text)
  return len(listed.group(1).split(",")) if listed and listed.group(1) else devices


def to_json(traffic: Traffic) -> dict[str, object]:
  """Returns HBM bytes, and count and received bytes of each kind of collective."""
  kinds = {k: {"count": c, "bytes": b} for k, (c, b) in traffic.collectives.items()}
  return json.loads(json.dumps({"hbm_bytes": traffic.hbm, "collectives": kinds}))
