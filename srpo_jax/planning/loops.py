"""Trip counts of the loops of a compiled program.

The HLO states a trip count, or it follows from the counter's start, step and limit.
"""

import re
from collections.abc import Mapping

from srpo_jax.planning.hlo import Instruction, Module


def trips(module: Module, loop: Instruction, around: Mapping[str, Instruction], while_trips: int | None = None) -> int:
  """Returns the number of times that a loop runs.

  Args:
    around: instructions of the computation that contains the loop, by name.
    while_trips: trip count of a loop whose end depends on data.

  Raises:
    ValueError: the loop's end depends on data and `while_trips` is None.
  """
  stated = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.text)
  if stated:
    return int(stated.group(1))
  condition, body = (module.computations[loop.attribute(n) or ""] for n in ("condition", "body"))
  for compare in _compares(module, condition):
    place, limit, strict = compare
    start, step = _start(loop, around, place), _step(module, body, place)
    if step:
      return max(0, -(-(limit - start + (0 if strict else 1)) // step))
  if while_trips is None:
    raise ValueError(f"loop {loop.name}: its trips depend on data, expected while_trips")
  return while_trips


def _compares(module: Module, condition: Mapping[str, Instruction]) -> list[tuple[int, int, bool]]:
  """Returns (index in the loop's tuple, limit, True for `<` and False for `<=`) of each comparison with a constant."""
  found = []
  for i in condition.values():
    called = condition if i.opcode == "compare" else module.computations.get(i.attribute("calls") or "", {})
    if i.opcode not in ("compare", "fusion"):
      continue
    for compare in [i] if i.opcode == "compare" else [c for c in called.values() if c.opcode == "compare"]:
      direction = re.search(r"direction=(\w+)", compare.text)
      left, right = ([_trace(name, called)] for name in compare.operands[:2])
      if i.opcode == "fusion":  # the parameters of the fused computation are the operands of the fusion
        left, right = (
          [_trace(i.operands[int(x.text.split(")")[0])], condition)] if x and x.opcode == "parameter" else [x]
          for [x] in (left, right)
        )
      a, b = left[0], right[0]
      if a and b and direction and direction.group(1) in ("LT", "LE") and b.opcode == "constant":
        place, limit = re.search(r"index=(\d+)", a.text), _integer(b)
        if a.opcode == "get-tuple-element" and place and limit is not None:
          found.append((int(place.group(1)), limit, direction.group(1) == "LT"))
  return found


def _start(loop: Instruction, around: Mapping[str, Instruction], place: int) -> int:
  initial = around.get(loop.operands[0]) if loop.operands else None
  value = _trace(initial.operands[place], around) if initial and initial.opcode == "tuple" else None
  number = _integer(value) if value and value.opcode == "constant" else None
  return number or 0


def _step(module: Module, body: Mapping[str, Instruction], place: int) -> int:
  """Returns the step that the body adds to its counter, or 0 if it cannot be found."""
  root = next((i for i in body.values() if i.root), None)
  if root is None or root.opcode != "tuple":
    return 0
  last, around, outer = _trace(root.operands[place], body), body, None
  if last is not None and last.opcode == "fusion":
    outer = last
    around = module.computations.get(last.attribute("calls") or "", {})
    last = next((i for i in around.values() if i.root), None)
  if last is None or last.opcode != "add":
    return 0
  for name in last.operands:
    value = _trace(name, around)
    if value is not None and value.opcode == "parameter" and outer is not None:
      value = _trace(outer.operands[int(value.text.split(")")[0])], body)
    number = _integer(value) if value is not None and value.opcode == "constant" else None
    if number:
      return number
  return 0


def _trace(name: str, around: Mapping[str, Instruction]) -> Instruction | None:
  """Returns the instruction behind a chain of copies."""
  i = around.get(name)
  while i is not None and i.opcode in ("copy", "bitcast", "copy-done", "copy-start", "convert") and i.operands:
    i = around.get(i.operands[0])
  return i


def _integer(constant: Instruction) -> int | None:
  found = re.match(r"\s*(-?\d+)\s*$", constant.text)
  return int(found.group(1)) if found else None
