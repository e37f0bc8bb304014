"""Table that maps each stored tensor of a Hugging Face folder to its place in our tree."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from srpo_jax.model.transformer import TransformerConfig

BLOCK_BYTES = 32 * 2**20  # bytes of a stored tensor read at once
Part = tuple[range, ...]  # a part of an array, as the indices along each axis
LeafPath = tuple[str, ...]  # path of a leaf in our tree


class Slot(NamedTuple):
  """Place of a stored tensor in our tree.

  torch's Linear stores [out, in]. Our kernels are [in, out] with the head axis split off.

  Attributes:
    path: path of the leaf in the tree.
    layer: index into a leaf that stacks all layers; None for a leaf that is not stacked.
    shape: shape in our tree, without the layer axis.
    stored_shape: shape in the file.
  """

  path: LeafPath
  layer: int | None
  shape: tuple[int, ...]
  stored_shape: tuple[int, ...]

  def stored_part(self, part: Part) -> Part:
    """Returns the part of the stored tensor that holds a part of ours.

    Raises:
      ValueError: the part cuts a head, which the sharding rules never do.
    """
    joined, inner = [], list(zip(part, self.shape, strict=True))
    for size in self.stored_shape[::-1] if self.transposed else self.stored_shape:
      at, held = inner.pop(0)
      while held < size:  # the heads and the features of each are one stored axis
        features, many = inner.pop(0)
        if len(features) < many:
          raise ValueError(
            f"{self.path}: {part} of {self.shape} cuts an axis that is stored inside another, expected all of it"
          )
        at, held = range(at.start * many, at.stop * many), held * many
      joined.append(at)
    return tuple(joined[::-1] if self.transposed else joined)

  def put_rows(self, ours: np.ndarray, start: int, stored: np.ndarray) -> None:
    """Writes rows of the stored tensor, from its row `start` on, into ours. Both may be the same part of a tensor."""
    columns = stored.shape[1:]
    rows = ours.reshape(*columns, -1).T if self.transposed else ours.reshape(-1, *columns)
    rows[start : start + len(stored)] = stored

  def stored_rows(self, ours: np.ndarray) -> np.ndarray:
    """Returns our array as rows of the stored tensor. It may be a part along the axis that is stored first."""
    columns = self.stored_shape[1:]
    return ours.reshape(*columns, -1).T if self.transposed else ours.reshape(-1, *columns)

  @property
  def transposed(self) -> bool:
    """True if the tensor is stored transposed."""
    return self.path[-1].endswith("kernel") or self.path == ("head",)


def tensor_table(config: TransformerConfig, names: Mapping[LeafPath, str]) -> dict[str, Slot]:
  """Returns stored tensor name -> Slot for every tensor of the model.

  Args:
    names: leaf of our tree -> name of its stored tensor, with `{layer}` for the number of the layer.
  """
  c = config
  m, f, h, n, d, v = (
    c.hidden_size,
    c.intermediate_size,
    c.num_attention_heads,
    c.num_key_value_heads,
    c.head_dim,
    c.vocab_size,
  )
  whole: dict[LeafPath, tuple[tuple[int, ...], tuple[int, ...]]] = {  # leaf -> shape in our tree, shape in the file
    ("embed",): ((v, m), (v, m)),
    ("final_norm",): ((m,), (m,)),
  }
  if not c.tie_word_embeddings:
    whole["head",] = (m, v), (v, m)
  layered: dict[LeafPath, tuple[tuple[int, ...], tuple[int, ...]]] = {
    ("attention_norm", "weight"): ((m,), (m,)),
    ("mlp_norm", "weight"): ((m,), (m,)),
    ("o_kernel",): ((h, d, m), (m, h * d)),
    ("gate_kernel",): ((m, f), (f, m)),
    ("up_kernel",): ((m, f), (f, m)),
    ("down_kernel",): ((f, m), (m, f)),
  }
  for name, heads in (("q", h), ("k", n), ("v", n)):
    layered[f"{name}_kernel",] = (m, heads, d), (heads * d, m)
    if c.qkv_bias:
      layered[f"{name}_bias",] = (heads, d), (heads * d,)
    if c.qk_norm and name != "v":
      layered[f"{name}_norm", "weight"] = (d,), (d,)
  table = {names[path]: Slot(path, None, *shapes) for path, shapes in whole.items()}
  for layer in range(c.num_hidden_layers):
    for path, shapes in layered.items():
      path = ("layers", *path)
      table[names[path].format(layer=layer)] = Slot(path, layer, *shapes)
  return table


def row_blocks(rows: range, row_bytes: int) -> Iterator[range]:
  """Returns consecutive parts of `rows`, each of at most BLOCK_BYTES or of one row."""
  step = max(1, BLOCK_BYTES // row_bytes)
  return (rows[start : start + step] for start in range(0, len(rows), step))
