"""Parser of the text of a compiled program's optimized HLO into computations and instructions.

Shapes are per device, because an SPMD module is the program of each device.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping

SIZES = {
  **{"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8, "s4": 0.5, "u4": 0.5},
  **{"bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16, "token": 0, "f8e4m3fn": 1, "f8e5m2": 1},
}
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](\{[^{}]*\})?")
_NAME = re.compile(r"%?([\w.\-]+) = ")
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")


@dataclasses.dataclass(frozen=True)
class Piece:
  """One array of an instruction's shape."""

  bytes: float
  hbm: bool  # True for HBM, False for on-chip memory
  dims: tuple[int, ...] = ()
  kind: str = ""  # element type, such as bf16


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction of a computation."""

  name: str
  opcode: str
  shape: tuple[Piece, ...]
  operands: tuple[str, ...]
  text: str  # text inside the opcode's parentheses, and the attributes after them
  root: bool

  @property
  def bytes(self) -> float:
    """Bytes of the result."""
    return sum(piece.bytes for piece in self.shape)

  @property
  def hbm_bytes(self) -> float:
    """Bytes of the result that lie in HBM."""
    return sum(piece.bytes for piece in self.shape if piece.hbm)

  def attribute(self, name: str) -> str | None:
    """Returns the name of the computation that an attribute refers to, or None without the attribute."""
    found = re.search(rf"\b{name}=%?([\w.\-]+)", self.text)
    return found.group(1) if found else None


@dataclasses.dataclass(frozen=True)
class Module:
  """One HLO module."""

  computations: Mapping[str, Mapping[str, Instruction]]  # name -> instructions by name, in program order
  entry: str
  devices: int


def parse(text: str) -> Module:
  """Parses `compiled.as_text()`.

  Raises:
    ValueError: the text is not that of an HLO module.
  """
  computations: dict[str, dict[str, Instruction]] = {}
  entry, current = "", None
  for line in _whole_lines(text):
    if current is None:
      head = _HEAD.match(line)
      if head:
        current = computations.setdefault(head.group(1), {})
        if line.startswith("ENTRY"):
          entry = head.group(1)
    elif line == "}":
      current = None
    else:
      instruction = _instruction(line.strip())
      if instruction is not None:
        current[instruction.name] = instruction
  if not entry:
    raise ValueError("no ENTRY computation, expected the text of an HLO module")
  devices = re.search(r"num_partitions=(\d+)", text[: text.find("\n")])
  return Module(computations, entry, int(devices.group(1)) if devices else 1)


def _whole_lines(text: str) -> Iterator[str]:
  """Yields lines, joining an instruction that continues over several lines (a kernel's metadata)."""
  held: list[str] = []
  for line in text.splitlines():
    if held and line and not line.startswith((" ", "%", "ENTRY", "HloModule")) and line != "}":
      held.append(line)
      continue
    if held:
      yield "".join(held)
    held = [line]
  yield "".join(held)


def _instruction(line: str) -> Instruction | None:
  root = line.startswith("ROOT ")
  line = line.removeprefix("ROOT ")
  name = _NAME.match(line)
  if name is None:
    return None
  line = re.sub(r"/\*.*?\*/", "", line[name.end() :])
  shape, rest = _split_shape(line)
  opcode, _, rest = rest.partition("(")
  inside = _bracketed(rest)
  operands = re.findall(r"%([\w.\-]+)", inside) if opcode.strip() != "constant" else []
  if opcode.strip() in ("parameter", "constant"):
    rest = inside
  return Instruction(name.group(1), opcode.strip(), tuple(pieces(shape)), tuple(operands), rest, root)


def _split_shape(line: str) -> tuple[str, str]:
  """Splits `line` into the shape at its front (a tuple in parentheses, or up to the first space) and the rest."""
  if not line.startswith("("):
    shape, _, rest = line.partition(" ")
    return shape, rest
  inside = _bracketed(line[1:])
  return inside, line[len(inside) + 2 :].lstrip()


def _bracketed(text: str) -> str:
  """Returns `text` up to the parenthesis that closes one opened before it."""
  depth = 1
  for i, char in enumerate(text):
    depth += (char == "(") - (char == ")")
    if depth == 0:
      return text[:i]
  return text


def pieces(shape: str) -> Iterable[Piece]:
  """Yields the arrays in the text of a shape."""
  for kind, dims, layout in _ARRAY.findall(shape):
    if kind in SIZES:
      sizes = tuple(int(d.lstrip("<=")) for d in dims.split(",") if d)
      space = re.search(r"S\((\d+)\)", layout or "")
      yield Piece(math.prod(sizes) * SIZES[kind], space is None or space.group(1) == "0", sizes, kind)


def largest(module: Module, n: int) -> list[tuple[float, str, str]]:
  """Returns the `n` largest arrays that instructions create in HBM, each as (bytes, opcode, name of the operation)."""
  found: dict[tuple[float, str], tuple[float, str, str]] = {}
  fused = {i.attribute("calls") for c in module.computations.values() for i in c.values() if i.opcode == "fusion"}
  for name, computation in module.computations.items():
    if name in fused:
      continue
    for i in computation.values():
      if i.opcode in ("tuple", "while", "get-tuple-element", "bitcast", "parameter", "conditional", "constant"):
        continue
      size = max((piece.bytes for piece in i.shape if piece.hbm), default=0.0)
      origin = re.search(r'op_name="([^"]*)"', i.text)
      where = origin.group(1) if origin else re.sub(r"[.\d]+$", "", i.name)
      found.setdefault((size, where), (size, i.opcode, where))
  return sorted(found.values(), key=lambda f: -f[0])[:n]
