"""Properties of factors that decide how many operations a product or a fraction counts as."""

from srpo_jax.rewards.answers.expression import Node, symbols


def integer(node: Node) -> int | None:
  """Returns the value of a signed integer, or None if the node is something else."""
  if node.kind == "neg":
    inside = integer(node.parts[0]) if node.parts[0].kind == "number" else None
    return None if inside is None else -inside
  return int(node.value) if node.kind == "number" and node.value.denominator == 1 else None


def role(factor: Node) -> str:
  """Returns the kind of a factor in a product: number, root, sum or other."""
  kind = factor.kind
  if kind == "neg":
    return role(factor.parts[0])
  if kind in ("number", "root"):
    return kind
  if kind == "pow" and not symbols(factor):
    return "number"
  if kind in ("factorial", "binomial"):
    return "number"
  return "sum" if kind == "add" else "other"


def base_name(factor: Node) -> str:
  """Returns the variable that the factor is a power of, or an empty text."""
  if factor.kind == "pow":
    return base_name(factor.parts[0])
  return factor.name if factor.kind == "symbol" else ""


def holds_fraction(node: Node) -> bool:
  """Returns True if a fraction stands in the node, other than in an exponent."""
  if node.kind == "pow":
    return holds_fraction(node.parts[0])
  if node.kind == "div" or (node.kind == "number" and node.value.denominator != 1):
    return True
  return any(holds_fraction(part) for part in node.parts)


def is_fraction(node: Node) -> bool:
  """Returns True for a number that is no integer, such as the exponent of a root."""
  inside = node.parts[0] if node.kind == "neg" else node
  return inside.kind == "number" and inside.value.denominator != 1
