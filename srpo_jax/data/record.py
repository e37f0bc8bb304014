"""Serialization of rows as records and back.

A record is a tf.train.Example of a row in the native schema (`sources.from_native`). A field that is None is absent
from the record, and TFDS returns None for it. `tests` and `extra` are JSON text. `extra` holds the fields outside the
schema. `pass_rate` is a float32 for other readers. If float32 does not hold the number exactly, `extra` holds it too.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

from srpo_jax.data.sources import from_native
from srpo_jax.utils.errors import InputError, one_line
from srpo_jax.utils.jsonl import is_text

TEXTS = ("id", "domain", "question", "answer", "difficulty", "source", "licence")
FIELDS = (*TEXTS, "tests", "pass_rate")


def features() -> tfds.features.FeaturesDict:
  """Returns the TFDS description of a record's fields."""
  text, optional = tfds.features.Text, ("answer", "difficulty", "source", "licence", "tests", "extra")
  return tfds.features.FeaturesDict(
    {name: text() for name in ("id", "domain", "question")}
    | {name: text(optional=True) for name in optional}
    | {"pass_rate": tfds.features.Tensor(shape=(), dtype=np.float32, optional=True)}
  )


def example_of(row: Mapping[str, Any], fallback_id: str) -> dict[str, Any]:
  """Returns the fields of a row's record. Fields to leave out are None.

  Raises:
    InputError: names the malformed field.
  """
  problem = from_native(row, fallback_id)
  licence = row.get("licence")
  if licence is not None and not (is_text(licence) and licence.strip()):
    raise InputError(f"field licence: expected text, got {licence!r:.60}")
  extra = _extra(row)
  if problem.pass_rate is not None and float(np.float32(problem.pass_rate)) != problem.pass_rate:
    extra["pass_rate"] = problem.pass_rate
  example = {field: getattr(problem, field) for field in TEXTS if field != "licence"}
  return example | {
    "licence": licence.strip() if licence is not None else None,
    "tests": None if problem.tests is None else as_json("tests", dict(problem.tests)),
    "pass_rate": problem.pass_rate,
    "extra": as_json("extra", extra) if extra else None,
  }


# TFDS's own serializer and parser give the same bytes and the same values at a third of the speed.
def record_of(example: Mapping[str, Any]) -> bytes:
  given = {field: _feature(value) for field, value in example.items() if value is not None}
  record = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=given))
  return record.SerializeToString(deterministic=True)


def _feature(value: str | float) -> tf_feature_pb2.Feature:
  if isinstance(value, float):
    return tf_feature_pb2.Feature(float_list=tf_feature_pb2.FloatList(value=[value]))
  return tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[value.encode()]))


def row_of(found: Mapping[str, tf_feature_pb2.Feature]) -> dict[str, Any]:
  row: dict[str, Any] = {field: _text_of(found, field) for field in TEXTS}
  if not (row["id"] and row["domain"] and row["question"]):
    raise ValueError("a field that every row has is absent")
  tests, extra = _text_of(found, "tests"), _text_of(found, "extra")
  row["tests"] = None if tests is None else json.loads(tests)
  (row["pass_rate"],) = found["pass_rate"].float_list.value if "pass_rate" in found else (None,)
  return row if extra is None else row | json.loads(extra)


def _text_of(found: Mapping[str, tf_feature_pb2.Feature], field: str) -> str | None:
  if field not in found:  # a plain look-up would add the field to the protobuf map
    return None
  (value,) = found[field].bytes_list.value
  return value.decode()


def as_json(field: str, value: Any) -> str:
  """Returns a field's value as JSON text. Raises InputError with the field's name if JSON cannot represent it."""
  try:
    return json.dumps(value, separators=(",", ":"))
  except (TypeError, ValueError, RecursionError) as error:
    raise InputError(f"field {field}: expected a JSON value: {one_line(error)}") from None


def _extra(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields outside the schema. Raises InputError for one that JSON cannot represent."""
  extra = {key: value for key, value in row.items() if key not in FIELDS}
  for key, value in extra.items():
    if not is_text(key):
      raise InputError(f"field {key!r:.60}: expected a name")
    as_json(key, value)
  return extra
