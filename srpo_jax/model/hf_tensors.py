"""The tensors of a Hugging Face Qwen2 folder: one table maps each stored tensor to its place in our tree."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from srpo_jax.model.qwen2 import Qwen2Config

EMBEDDING, TIED_HEAD = "model.embed_tokens.weight", "lm_head.weight"
BLOCK_BYTES = 32 * 2**20  # of a stored tensor, read at once
Part = tuple[range, ...]  # of an array: the indices along each axis


class Slot(NamedTuple):
  """Where a stored tensor goes: tree path, layer (None: not stacked), our shape, and whether it is stored transposed.

  torch's Linear stores [out, in]; our kernels are [in, out] with the head axis split off.
  """

  path: tuple[str, ...]
  layer: int | None
  shape: tuple[int, ...]
  stored_shape: tuple[int, ...]

  def stored_part(self, part: Part) -> Part:
    """The part of the stored tensor that holds a part of ours.

    Raises:
      ValueError: a head is cut, which the rules of sharding never do.
    """
    joined, inner = [], list(zip(part, self.shape, strict=True))
    for size in self.stored_shape[::-1] if self.transposed else self.stored_shape:
      at, held = inner.pop(0)
      while held < size:  # the heads, and the features of each: one axis as stored
        features, many = inner.pop(0)
        if len(features) < many:
          raise ValueError(f"{self.path}: {part} of {self.shape} cuts an axis that is stored inside another")
        at, held = range(at.start * many, at.stop * many), held * many
      joined.append(at)
    return tuple(joined[::-1] if self.transposed else joined)

  def put_rows(self, ours: np.ndarray, start: int, stored: np.ndarray) -> None:
    """Writes rows of (a part of) the stored tensor, from its row `start` on, into (that part of) ours."""
    columns = stored.shape[1:]
    rows = ours.reshape(*columns, -1).T if self.transposed else ours.reshape(-1, *columns)
    rows[start : start + len(stored)] = stored

  def stored_rows(self, ours: np.ndarray) -> np.ndarray:
    """Ours, or a part of it along the axis that is stored first, as (those rows of) the stored tensor."""
    columns = self.stored_shape[1:]
    return ours.reshape(*columns, -1).T if self.transposed else ours.reshape(-1, *columns)

  @property
  def transposed(self) -> bool:
    return self.path[-1].endswith("kernel") or self.path == ("head",)


def tensor_table(config: Qwen2Config) -> dict[str, Slot]:
  """Stored tensor name -> Slot, for every tensor of the model."""
  c = config
  m, f, h, n, d, v = (
    c.hidden_size,
    c.intermediate_size,
    c.num_attention_heads,
    c.num_key_value_heads,
    c.head_dim,
    c.vocab_size,
  )
  table = {
    EMBEDDING: Slot(("embed",), None, (v, m), (v, m)),
    "model.norm.weight": Slot(("final_norm",), None, (m,), (m,)),
  }
  if not c.tie_word_embeddings:
    table[TIED_HEAD] = Slot(("head",), None, (m, v), (v, m))
  per_layer = {
    "input_layernorm.weight": (("attention_norm", "weight"), (m,), (m,)),
    "post_attention_layernorm.weight": (("mlp_norm", "weight"), (m,), (m,)),
    "self_attn.o_proj.weight": (("o_kernel",), (h, d, m), (m, h * d)),
    "mlp.gate_proj.weight": (("gate_kernel",), (m, f), (f, m)),
    "mlp.up_proj.weight": (("up_kernel",), (m, f), (f, m)),
    "mlp.down_proj.weight": (("down_kernel",), (f, m), (m, f)),
  }
  for name, heads in (("q", h), ("k", n), ("v", n)):
    per_layer[f"self_attn.{name}_proj.weight"] = ((f"{name}_kernel",), (m, heads, d), (heads * d, m))
    per_layer[f"self_attn.{name}_proj.bias"] = ((f"{name}_bias",), (heads, d), (heads * d,))
  for layer in range(c.num_hidden_layers):
    for name, (path, shape, stored_shape) in per_layer.items():
      table[f"model.layers.{layer}.{name}"] = Slot(("layers", *path), layer, shape, stored_shape)
  return table


def row_blocks(rows: range, row_bytes: int) -> Iterator[range]:
  """Consecutive parts of `rows`, of BLOCK_BYTES or one row each."""
  step = max(1, BLOCK_BYTES // row_bytes)
  return (rows[start : start + step] for start in range(0, len(rows), step))
