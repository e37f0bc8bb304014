"""The configuration of a curation, made once from a ConfigDict and checked. Defaults: configs/curate.py."""

import dataclasses
import re
from typing import Any

from srpo_jax.data.curation import code_rules, math_rules
from srpo_jax.data.sources import ADAPTERS
from srpo_jax.sandbox.tiers import TIERS
from srpo_jax.utils import fields
from srpo_jax.utils.errors import InputError

NONE = "none"  # in place of a path: this evaluation set is left out, and the card says so


@dataclasses.dataclass(frozen=True)
class ColumnsConfig:
  """Of format `generic`: the column of each field, a dot going into an object; empty: there is none."""

  id: str
  domain: str
  question: str
  answer: str
  tests: str
  difficulty: str
  pass_rate: str
  source: str
  reference: str  # a program that solves the task; of format `native` too


@dataclasses.dataclass(frozen=True)
class WhereConfig:
  """Takes only the rows in which a whole number lies in a range, as MBPP's splits are of its task_id."""

  column: str  # empty: all rows
  low: int
  high: int  # included


@dataclasses.dataclass(frozen=True)
class SourceConfig:
  path: str  # .jsonl or .parquet file, hf:// address of one, or the hub's name of a set; empty: not used
  subset: str  # of a set on the hub
  split: str
  format: str  # adapter, `generic`, or `auto`: told from the columns of the first row
  domain: str  # of format generic: math | code, where no column says
  licence: str  # for the card
  min_tests: int  # code: tests a row needs; 0: rules.min_tests
  limit: int  # first rows alone; 0: all
  where: WhereConfig
  columns: ColumnsConfig


@dataclasses.dataclass(frozen=True)
class EvalSetConfig:
  path: str  # as of a source; `none`: not compared with
  subset: str
  split: str
  column: str  # of the question; empty: the first of decontaminated.QUESTION_COLUMNS that is there
  where: WhereConfig


@dataclasses.dataclass(frozen=True)
class RulesConfig:
  math: str  # names of math rules, comma-separated
  code: str
  max_question: int  # characters
  max_answer: int
  min_tests: int  # a code row
  imports: str  # modules that a reference program may import, comma-separated


@dataclasses.dataclass(frozen=True)
class DuplicatesConfig:
  jaccard: (
    float  # of word 3-grams, from which rows with the same numbers and the same answer are near-duplicates; 0: off
  )


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
  gold: bool  # gold answers
  programs: bool  # reference programs, in the sandbox
  workers: int  # processes that judge math; 0: half of the cores, from 2 to 8
  limit_s: float  # seconds an answer or a program may take
  min_tier: str  # the weakest sandbox to accept
  memory_mb: int
  packages: str  # that programs may import beside the standard library, comma-separated


@dataclasses.dataclass(frozen=True)
class WorkConfig:
  """How the work is cut: none of it changes the result."""

  shard_rows: int
  workers: int  # processes; 0: one a core
  progress: bool


@dataclasses.dataclass(frozen=True)
class CurateConfig:
  output: str  # folder; made
  name: str  # of the data set
  version: str
  description: str
  sources: dict[str, SourceConfig]
  eval_sets: dict[str, EvalSetConfig]
  rules: RulesConfig
  duplicates: DuplicatesConfig
  verify: VerifyConfig
  work: WorkConfig

  @property
  def used(self) -> dict[str, SourceConfig]:
    """The sources that have a path, in the config's order."""
    return {name: source for name, source in self.sources.items() if source.path}


def make_config(raw: dict[str, Any]) -> CurateConfig:
  """The checked configuration.

  Raises:
    InputError: a field that is unknown, missing, of another type or out of range; each is named.
  """
  config = fields.build(CurateConfig, raw, "config")
  if not config.output:
    raise InputError("config.output: missing, expected --config.output=DIR")
  if not re.fullmatch(r"[a-z][a-z0-9_]*", config.name):
    raise InputError(f"config.name: expected small letters, digits and _, got {config.name!r}")
  if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", config.version):
    raise InputError(f"config.version: expected MAJOR.MINOR.PATCH, got {config.version!r}")
  if not config.used:
    known = ", ".join(config.sources) or "(none)"
    raise InputError(f"config.sources: no source has a path, expected --config.sources.NAME.path=..., NAME of {known}")
  for name, source in config.sources.items():
    _check_source(f"config.sources.{name}", name, source)
  for name, entry in config.eval_sets.items():
    if not entry.path:
      raise InputError(
        f"config.eval_sets.{name}.path: missing, expected a file or a hub name, or {NONE} to go without it"
      )
  _check_rules(config.rules)
  for where, value in (
    ("verify.workers", config.verify.workers),
    ("work.workers", config.work.workers),
  ):
    if value < 0:
      raise InputError(f"config.{where}: expected a whole number of at least 0, got {value}")
  for where, number in (
    ("verify.limit_s", config.verify.limit_s),
    ("verify.memory_mb", config.verify.memory_mb),
    ("work.shard_rows", config.work.shard_rows),
  ):
    if number <= 0:
      raise InputError(f"config.{where}: expected a positive number, got {number}")
  if not 0 <= config.duplicates.jaccard <= 1:
    raise InputError(f"config.duplicates.jaccard: expected a number from 0 to 1, got {config.duplicates.jaccard}")
  if config.verify.min_tier not in TIERS:
    raise InputError(f"config.verify.min_tier: expected one of {', '.join(TIERS)}, got {config.verify.min_tier!r}")
  return config


def _check_source(where: str, name: str, source: SourceConfig) -> None:
  if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
    raise InputError(f"{where}: expected a name of letters, digits, _ and -")
  formats = ("auto", "generic", *ADAPTERS)
  if source.format not in formats:
    raise InputError(f"{where}.format: expected one of {', '.join(formats)}, got {source.format!r}")
  if source.domain not in ("", "math", "code"):
    raise InputError(f"{where}.domain: expected math or code, got {source.domain!r}")
  if source.path and source.format == "generic":
    if not source.columns.question:
      raise InputError(f"{where}.columns.question: missing, expected the column that holds the question")
    if not source.columns.domain and not source.domain:
      raise InputError(f"{where}.domain: missing, expected math or code (or columns.domain)")
  for field in ("min_tests", "limit"):
    if getattr(source, field) < 0:
      raise InputError(f"{where}.{field}: expected a number of at least 0, got {getattr(source, field)}")


def _check_rules(rules: RulesConfig) -> None:
  for domain, known in (("math", math_rules.RULES), ("code", code_rules.RULES)):
    for name in fields.names(getattr(rules, domain)):
      if name not in known:
        raise InputError(f"config.rules.{domain}: unknown rule {name!r}, expected some of {', '.join(known)}")
  for field in ("max_question", "max_answer", "min_tests"):
    if getattr(rules, field) <= 0:
      raise InputError(f"config.rules.{field}: expected a positive number, got {getattr(rules, field)}")
