"""Reads the rotary embedding from a config.json, in the form of transformers 5 and in the flat form before it.

transformers 5 keeps everything in `rope_parameters`. Before, `rope_theta` was a field of its own, and `rope_scaling`
held the rest. The oldest files have the key `type` for `rope_type`. If several places state a value, they must agree.
"""

from collections.abc import Iterable
from typing import Any

from srpo_jax.model.families.config_file import ConfigFile, is_positive
from srpo_jax.model.transformer import RopeScaling
from srpo_jax.utils.errors import InputError

SECTIONS = ("rope_parameters", "rope_scaling")
TYPE_KEYS = ("rope_type", "type")
LLAMA3_KEYS = ("factor", "low_freq_factor", "high_freq_factor")
CONTEXT = "original_max_position_embeddings"
SCALING_KEYS = {"default": (), "llama3": (*LLAMA3_KEYS, CONTEXT)}  # rope type -> keys that it reads


def read_rope(config: ConfigFile) -> tuple[float, RopeScaling | None]:
  """Returns the base of the rotary frequencies and their scaling.

  Raises:
    InputError: no theta is stated, two places disagree, a value is out of range, or a type or key is not supported.
  """
  sections = {name: config.section(name) for name in SECTIONS}
  kinds = {name: kind for name, section in sections.items() if (kind := _kind(config, name, section))}
  kind = _only_one(config, "rope type", kinds.items()) or "default"
  for name, section in sections.items():
    for key in section.keys() - {*TYPE_KEYS, *SCALING_KEYS[kind], "rope_theta", "partial_rotary_factor"}:
      config.refuse(f"{name}.{key}", f"no such key for rope type {kind!r}", section[key])
  everywhere = {"": config.fields, **sections}
  for name, fields in everywhere.items():
    if fields.get("partial_rotary_factor") not in (None, 1):
      partial = fields["partial_rotary_factor"]
      config.refuse(_join(name, "partial_rotary_factor"), "1: a partly rotated head is not supported", partial)

  def stated(key: str, *, at_top: bool) -> Any:
    places = [(name, fields[key]) for name, fields in everywhere.items() if fields.get(key) is not None]
    return _only_one(config, key, [(name, value) for name, value in places if name or at_top])

  theta = stated("rope_theta", at_top=True)
  if theta is None:
    raise InputError(f"{config.file}: no rope_theta, expected it at the top level or inside rope_parameters")
  if not is_positive(theta):
    raise InputError(f"{config.file}: rope_theta is {theta!r}, expected a positive number")
  if kind == "default":
    return float(theta), None
  values = {key: stated(key, at_top=False) for key in LLAMA3_KEYS}
  context = stated(CONTEXT, at_top=True)
  # As in transformers, the context of a file that states none is the model's own.
  values[CONTEXT] = config.fields.get("max_position_embeddings") if context is None else context
  return float(theta), _llama3(config, values)


def _join(section: str, key: str) -> str:
  return f"{section}.{key}" if section else key


def _kind(config: ConfigFile, name: str, section: dict[str, Any]) -> str | None:
  """Returns the rope type that a section states. Keys other than rope_theta without a type mean the default type."""
  kinds = [(name, section[key]) for key in TYPE_KEYS if key in section]
  kind = _only_one(config, "rope type", kinds)
  if kind is None:
    return "default" if section.keys() - {"rope_theta"} else None
  if not isinstance(kind, str) or kind not in SCALING_KEYS:
    wanted = " or ".join(map(repr, SCALING_KEYS))
    raise InputError(f"{config.file}: rope type is {kind!r} in {name}, expected {wanted}: others are not supported")
  return kind


def _only_one(config: ConfigFile, what: str, places: Iterable[tuple[str, Any]]) -> Any:
  """Returns the value that all places state, or None without any. Raises InputError if they differ."""
  places = list(places)
  for name, value in places[1:]:
    if value != places[0][1]:
      first, where = places[0][1], f" in {name}" if name else ""
      raise InputError(f"{config.file}: {what} is {first!r}, and {value!r}{where}: expected one value")
  return places[0][1] if places else None


def _llama3(config: ConfigFile, values: dict[str, Any]) -> RopeScaling:
  for key, value in values.items():
    if not is_positive(value) or (key == CONTEXT and int(value) != value):
      wanted = "integer" if key == CONTEXT else "number"
      raise InputError(f"{config.file}: {key} is {value!r} for rope type 'llama3', expected a positive {wanted}")
  numbers: dict[str, Any] = {key: int(value) if key == CONTEXT else float(value) for key, value in values.items()}
  scaling = RopeScaling(**numbers)
  if scaling.high_freq_factor <= scaling.low_freq_factor:
    raise InputError(
      f"{config.file}: high_freq_factor is {scaling.high_freq_factor}, expected more than low_freq_factor "
      f"{scaling.low_freq_factor}"
    )
  return scaling
