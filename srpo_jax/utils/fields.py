"""Sections of a config: frozen dataclasses whose fields state default, range, choices and meaning in one place.

The sections are plain dataclasses, not pydantic models, for two reasons. `dataclasses.replace` must be able to make a
config that training would refuse (evaluation samples at temperature 0). And `--help` must not wait for an import.
"""

import copy
import dataclasses
import functools
import math
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.plugins import resolve_callable

T = TypeVar("T")
_UNSET: Any = object()


@dataclasses.dataclass(frozen=True)
class FieldSpec:
  """Specification of a field, apart from its type and default. For the arguments, see `field`."""

  meaning: str = ""
  source: Literal["", "S", "I"] = ""
  choices: tuple[str, ...] = ()
  above: float | None = None
  at_least: float | None = None
  at_most: float | None = None
  below: float | None = None
  because: str = ""
  plugin: bool = False
  before: Any = _UNSET


def field(default: Any, meaning: str, **stated: Any) -> Any:
  """Declares a field of a section.

  Args:
    default: its value in a config that does not set it.
    meaning: a noun phrase for `--help`.
    source: "S" for a default that the paper's summaries state, "I" for one that was inferred from them.
    choices: allowed texts. A `str | float` field also allows numbers.
    above, at_least, at_most, below: bounds of a number, or of each number in a dict.
    because: reason for the bounds, which becomes part of the error message.
    plugin: True if the text names a callable, `module:function`, which must resolve. An empty text means none.
    before: value for a config.json without this field, if it differs from the default.
  """
  metadata = {"spec": FieldSpec(meaning, **stated)}
  if isinstance(default, dict):
    return dataclasses.field(default_factory=functools.partial(copy.deepcopy, default), metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


@functools.cache
def names(text: str) -> tuple[str, ...]:
  """Returns the names in a comma-separated list."""
  return tuple(part.strip() for part in text.split(",") if part.strip())


def defaults(kind: type[Any]) -> dict[str, Any]:
  """Returns the defaults of a section and its nested sections, as plain values."""
  return dataclasses.asdict(kind())


def complete(kind: type[Any], raw: Any) -> Any:
  """Returns the values of an older config.json, with missing fields set to their old behaviour.

  That is the field's `before`, or else its default. Unknown fields are kept, so that `make` refuses them.
  """
  if not isinstance(raw, dict):
    return raw
  whole = dict(raw)
  for entry, hint, spec in _entries(kind):
    item = _item(hint)
    if dataclasses.is_dataclass(hint):
      whole[entry.name] = complete(typing.cast(type, hint), raw.get(entry.name, {}))
    elif entry.name not in raw:
      whole[entry.name] = _default(entry) if spec.before is _UNSET else copy.deepcopy(spec.before)
    elif dataclasses.is_dataclass(item) and isinstance(raw[entry.name], dict):
      whole[entry.name] = {name: complete(typing.cast(type, item), one) for name, one in raw[entry.name].items()}
  return whole


def make(kind: type[T], raw: Any, where: str) -> T:
  """Returns a checked instance of the dataclass `kind`, including nested sections and dicts of sections.

  A section may have a method `check(config, where)` with rules between its fields and other sections. It raises
  InputError. These methods run after the whole config is built.

  Raises:
    InputError: a field is wrong. The message has its path from `where`, the expectation and the value.
  """
  config = _build(kind, raw, where)
  parts = list(_sections(config, where))
  for part, path in parts:
    if hasattr(part, "check"):
      part.check(config, path)
  for part, path in parts:  # last, because a user's module may be slow to import
    for entry, _, spec in _entries(type(part)):
      if spec.plugin and (value := getattr(part, entry.name)):
        try:
          resolve_callable(value)
        except InputError as error:
          raise InputError(f"{path}.{entry.name}: {error}") from None
  return config


def describe(kind: type[Any], values: dict[str, Any], where: str = "config") -> str:
  """Returns the help text of a config's fields by section: flag, value, meaning, type, choices and range.

  Sections of the same kind (stages, sources) are described once. For the others, only differing values are listed.
  """
  lines: list[str] = []
  for entry, hint, spec in _entries(kind):
    value, path, item = values[entry.name], f"{where}.{entry.name}", _item(hint)
    title = path.removeprefix("config.")
    if dataclasses.is_dataclass(hint):
      lines += ["", f"{title}: {_summary(hint)}", describe(typing.cast(type, hint), value, path)]
    elif dataclasses.is_dataclass(item):
      lines += ["", f"{title}: {spec.meaning} {_summary(item)}"]
      first: dict[str, Any] = {}  # path -> value in the first of these sections
      for name, one in value.items():
        if first:
          lines += [f"  --{path}.{name}{flag}={v}" for flag, v in _flat(one, "").items() if first.get(flag) != v]
        else:
          first = _flat(one, "")
          lines.append(describe(typing.cast(type, item), one, f"{path}.{name}"))
    else:
      lines += [""] if where == "config" else []
      lines += [f"  --{flag}={v}" for flag, v in (_flat(value, path) or {f"{path}.NAME": "VALUE"}).items()]
      meaning = f"{spec.meaning}{spec.source and f' [{spec.source}]'} ({'; '.join(_limits(hint, spec))})"
      lines.append(textwrap.fill(meaning, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
  return "\n".join(lines)


def _flat(value: Any, path: str) -> dict[str, Any]:
  """Returns path -> value for a single value, or for all values in a nested dict."""
  if not isinstance(value, dict):
    return {path: value}
  return {name: v for key, inner in value.items() for name, v in _flat(inner, f"{path}.{key}").items()}


def _entries(kind: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Any, FieldSpec]]:
  """Yields each field of a section with its type and specification."""
  hints = typing.get_type_hints(kind)
  for entry in dataclasses.fields(kind):
    yield entry, hints[entry.name], entry.metadata.get("spec", FieldSpec())


def _sections(part: Any, where: str) -> Iterator[tuple[Any, str]]:
  """Yields the sections of a config with their paths, each before the one that contains it."""
  for entry in dataclasses.fields(part):
    value = getattr(part, entry.name)
    inner = value.items() if isinstance(value, dict) else [("", value)]
    for name, one in inner:
      if dataclasses.is_dataclass(one):
        yield from _sections(one, f"{where}.{entry.name}{name and '.'}{name}")
  yield part, where


def _build(kind: type[T], raw: Any, where: str) -> T:
  if not isinstance(raw, dict):
    raise InputError(f"{where}: expected a section with fields, got {raw!r}")
  hints = typing.get_type_hints(kind)
  for name in raw:
    if name not in hints:
      raise InputError(f"{where}.{name}: unknown field, expected one of {', '.join(hints)}")
  built = {}
  for entry, hint, spec in _entries(kind):
    path = f"{where}.{entry.name}"
    if entry.name not in raw:
      raise InputError(f"{path}: missing field")
    built[entry.name] = _convert(hint, raw[entry.name], path)
    _check_value(spec, built[entry.name], path)
  return kind(**built)


def _convert(hint: Any, value: Any, where: str) -> Any:
  """Returns a value in the type that its field is declared with. Raises InputError if it has another type."""
  if dataclasses.is_dataclass(hint):
    return _build(typing.cast(type, hint), value, where)
  if isinstance(hint, types.UnionType):  # str | float, which a flag gives as text in both cases
    try:
      value, hint = float(value), float
    except (TypeError, ValueError):
      hint = str
  if typing.get_origin(hint) is dict:
    if not isinstance(value, dict):
      raise InputError(f"{where}: expected fields, got {value!r}")
    item = _item(hint)
    return {name: one if item is Any else _convert(item, one, f"{where}.{name}") for name, one in value.items()}
  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if type(value) is not hint:
    raise InputError(f"{where}: expected {hint.__name__}, got {value!r}")
  if hint is float and not math.isfinite(value):
    raise InputError(f"{where}: expected a finite number, got {value!r}")
  return value


def _check_value(spec: FieldSpec, value: Any, where: str) -> None:
  """Raises InputError if a value is not among its field's choices or within its bounds."""
  if isinstance(value, dict):
    for name, one in value.items():
      _check_value(spec, one, f"{where}.{name}")
  elif isinstance(value, str):
    if spec.choices and value not in spec.choices:
      raise InputError(f"{where}: expected {_choices(spec)}, got {value!r}")
  elif isinstance(value, (int, float)):
    low = (spec.above is None or value > spec.above) and (spec.at_least is None or value >= spec.at_least)
    high = (spec.at_most is None or value <= spec.at_most) and (spec.below is None or value < spec.below)
    if not (low and high):
      reason = f", {spec.because}" if spec.because else ""
      raise InputError(f"{where}: expected {_range(spec)}{reason}, got {value!r}")


def _range(spec: FieldSpec) -> str:
  """Returns the bounds of a number in words. The text is empty if there are none."""
  if spec.above == 0 and spec.at_most is None and spec.below is None:
    return "a positive number"
  if spec.at_least is not None and spec.at_most is not None:
    return f"a number from {spec.at_least:g} to {spec.at_most:g}"
  bounds = {"above": spec.above, "at least": spec.at_least, "at most": spec.at_most, "less than": spec.below}
  return " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)


def _choices(spec: FieldSpec) -> str:
  named = ", ".join(filter(None, spec.choices))
  if "" in spec.choices:
    return f"{named} or nothing"
  return f"one of {named}" + (" or a number" if spec.at_least is not None else "")


def _limits(hint: Any, spec: FieldSpec) -> list[str]:
  """Returns a field's type, choices and range, for its help text."""
  plain = _item(hint) or hint
  kinds = typing.get_args(plain) if isinstance(plain, types.UnionType) else (plain,)
  kind = " or ".join("any" if one is Any else one.__name__ for one in kinds)
  found = [kind, _choices(spec) if spec.choices else "", _range(spec)]
  return [text for text in found if text]


def _item(hint: Any) -> Any:
  """Returns the type of a dict's values. None: `hint` is not a dict."""
  return typing.get_args(hint)[1] if typing.get_origin(hint) is dict else None


def _default(entry: dataclasses.Field[Any]) -> Any:
  """Returns a field's default as plain values."""
  value = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
  holder = dataclasses.make_dataclass("Holder", ["value"])(value)  # asdict descends into a dict of sections
  return dataclasses.asdict(holder)["value"]


def _summary(kind: Any) -> str:
  return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
