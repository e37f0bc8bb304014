"""Configuration of a curation, built and checked once from plain values. `configs/curate.py` lists the sources."""

import dataclasses
import re
from typing import Any

from srpo_jax.data.curation import code_rules, math_rules
from srpo_jax.data.sources import ADAPTERS
from srpo_jax.sandbox.tiers import TIERS
from srpo_jax.utils import fields
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import field
from srpo_jax.utils.renamed import current_config

NONE = "none"  # path of an evaluation set that is left out; the card says so

# Modules of the standard library that only compute: no access to files, network, processes or the machine.
IMPORTS = (
  "math,cmath,re,collections,itertools,functools,heapq,bisect,string,operator,typing,copy,random,fractions,decimal,"
  "statistics,numbers,datetime,calendar,sys,array,queue,dataclasses,enum,abc,textwrap,unicodedata,struct,hashlib,json,"
  "io,time,cProfile,types,contextlib,graphlib,difflib,zlib,binascii,base64,warnings,__future__"
)


@dataclasses.dataclass(frozen=True)
class ColumnsConfig:
  """Column of each field, for format `generic`. A dot selects a field of an object. An empty name means no column."""

  id: str = field("", "Column of the id.")
  domain: str = field("", "Column of the domain.")
  question: str = field("", "Column of the question.")
  answer: str = field("", "Column of the answer.")
  tests: str = field("", "Column of the tests.")
  difficulty: str = field("", "Column of the difficulty.")
  pass_rate: str = field("", "Column of the pass rate.")
  source: str = field("", "Column of the source.")
  reference: str = field("", "Column of a program that solves the task. Also used for format `native`.")


@dataclasses.dataclass(frozen=True)
class WhereConfig:
  """Selection of rows by a range of whole numbers in a column. The splits of MBPP are ranges of its task_id."""

  column: str = field("", "Column of the number. Empty: all rows.")
  low: int = field(0, "Lowest number.")
  high: int = field(0, "Highest number, inclusive.")


@dataclasses.dataclass(frozen=True)
class SourceConfig:
  """Source of training rows."""

  path: str = field("", ".jsonl or .parquet file, its hf:// address, or the name of a set on the hub. Empty: unused.")
  subset: str = field("", "Subset of a set on the hub.")
  split: str = field("train", "Split of a set on the hub.")
  format: str = field(
    "auto",
    "Adapter of the rows, `generic`, or `auto` (chosen by the columns of the first row).",
    choices=("auto", "generic", *ADAPTERS),
  )
  domain: str = field(
    "", "Domain of all rows. Only for `generic` without a domain column.", choices=("math", "code", "")
  )
  licence: str = field("", "Licence of the source, shown on the card.")
  min_tests: int = field(0, "Minimum number of tests of a code row. 0: rules.min_tests.", at_least=0)
  limit: int = field(0, "Rows to use from the start of the set. 0: all.", at_least=0)
  where: WhereConfig = WhereConfig()
  columns: ColumnsConfig = ColumnsConfig()

  def check(self, config: "CurateConfig", where: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", where.removeprefix("config.sources.")):
      raise InputError(f"{where}: expected a name of letters, digits, _ and -")
    if self.path and self.format == "generic":
      if not self.columns.question:
        raise InputError(f"{where}.columns.question: missing, expected the column that holds the question")
      if not self.columns.domain and not self.domain:
        raise InputError(f"{where}.domain: missing, expected math or code (or columns.domain)")


@dataclasses.dataclass(frozen=True)
class EvalSetConfig:
  """Evaluation set that training rows are compared with."""

  path: str = field("", "Path as for a source. `none`: left out.")
  subset: str = field("", "Subset of a set on the hub.")
  split: str = field("test", "Split of a set on the hub.")
  column: str = field("", "Column of the question. Empty: the first of eval_sets.QUESTION_COLUMNS in the set.")
  where: WhereConfig = WhereConfig()

  def check(self, config: "CurateConfig", where: str) -> None:
    if not self.path:
      raise InputError(f"{where}.path: missing, expected a file, a hub name, or {NONE} to leave the set out")


@dataclasses.dataclass(frozen=True)
class RulesConfig:
  """Rules that drop rows."""

  math: str = field("image,table,proof,multi_part,multiple_choice,blank", "Names of math rules, comma-separated.")
  code: str = field("files,network,environment,interactive,several_answers", "Names of code rules, comma-separated.")
  max_question: int = field(8192, "Maximum length of a question, in characters.", above=0)
  max_answer: int = field(256, "Maximum length of an answer, in characters.", above=0)
  min_tests: int = field(5, "Minimum number of tests of a code row.", above=0)
  imports: str = field(IMPORTS, "Modules that a reference program may import, comma-separated.")

  def check(self, config: "CurateConfig", where: str) -> None:
    for domain, known in (("math", math_rules.RULES), ("code", code_rules.RULES)):
      for name in fields.names(getattr(self, domain)):
        if name not in known:
          raise InputError(f"{where}.{domain}: unknown rule {name!r}, expected some of {', '.join(known)}")


@dataclasses.dataclass(frozen=True)
class DuplicatesConfig:
  """Search for near-duplicates: rows with the same numbers, the same answer and similar words."""

  jaccard: float = field(
    0.8, "Minimum Jaccard similarity of near-duplicates, over word 3-grams. 0: off.", at_least=0, at_most=1
  )


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
  """Verification of answers and tests."""

  gold: bool = field(True, "Check of the gold answers.")
  programs: bool = field(True, "Check of the reference programs in the sandbox.")
  workers: int = field(0, "Processes that judge math. 0: half of the cores, at least 2, at most 8.", at_least=0)
  timeout_s: float = field(4.0, "Time limit per answer or program, in seconds.", above=0)
  min_tier: str = field("bubblewrap", "Weakest acceptable sandbox.", choices=TIERS)
  memory_mb: int = field(1024, "Limit on the address space of a program, in MiB.", above=0)
  packages: str = field("", "Packages that programs may import besides the standard library, comma-separated.")


@dataclasses.dataclass(frozen=True)
class WorkConfig:
  """Division of the work among processes. It does not change the result."""

  shard_rows: int = field(8192, "Rows per shard.", above=0)
  workers: int = field(0, "Number of processes. 0: one per core.", at_least=0)
  progress: bool = field(True, "Progress bar.")


@dataclasses.dataclass(frozen=True)
class CurateConfig:
  """Configuration of a curation."""

  output: str = field("", "Output folder, created if missing.")
  name: str = field("srpo_curated", "Name of the data set.")
  version: str = field("1.0.0", "Version of the data set, MAJOR.MINOR.PATCH.")
  description: str = field("Math and code questions with rule rewards, curated for SRPO.", "Description on the card.")
  sources: dict[str, SourceConfig] = field({}, "Sources by name.")
  eval_sets: dict[str, EvalSetConfig] = field({}, "Evaluation sets by name.")
  rules: RulesConfig = RulesConfig()
  duplicates: DuplicatesConfig = DuplicatesConfig()
  verify: VerifyConfig = VerifyConfig()
  work: WorkConfig = WorkConfig()

  @property
  def used(self) -> dict[str, SourceConfig]:
    """Sources that have a path, in the order of the config."""
    return {name: source for name, source in self.sources.items() if source.path}

  def check(self, config: "CurateConfig", where: str) -> None:
    if not self.output:
      raise InputError(f"{where}.output: missing, expected --config.output=DIR")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
      raise InputError(f"{where}.name: expected lower-case letters, digits and _, got {self.name!r}")
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", self.version):
      raise InputError(f"{where}.version: expected MAJOR.MINOR.PATCH, got {self.version!r}")
    if not self.used:
      known = ", ".join(self.sources) or "(none)"
      raise InputError(
        f"{where}.sources: no source has a path, expected --config.sources.NAME.path=..., NAME of {known}"
      )


def make_config(raw: dict[str, Any]) -> CurateConfig:
  """Returns the checked configuration.

  Raises:
    InputError: a field is unknown, missing, of the wrong type or out of range. The message names it.
  """
  return fields.make(CurateConfig, current_config(raw), "config")
