"""Reads the questions of evaluation sets in any layout."""

from collections.abc import Iterator

from srpo_jax.data.curation.config import NONE, EvalSetConfig
from srpo_jax.data.curation.source import Source, open_source, read
from srpo_jax.data.decontamination import EvalItem
from srpo_jax.data.generic_rows import lookup
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import is_text

QUESTION_COLUMNS = ("problem", "question", "question_content", "prompt", "text")
ID_COLUMNS = ("id", "task_id", "question_id", "unique_id")


def open_eval_sets(configs: dict[str, EvalSetConfig]) -> list[tuple[Source, EvalSetConfig]]:
  """Opens the evaluation sets that rows are compared with.

  Raises:
    InputError: a set is missing.
  """
  return [
    (open_source(name, config, f"config.eval_sets.{name}"), config)
    for name, config in configs.items()
    if config.path != NONE
  ]


def items(source: Source, column: str) -> Iterator[EvalItem]:
  """Yields every item of an evaluation set.

  Raises:
    InputError: a row cannot be read. The message names it. Skipping it would let its question leak into training.
  """
  count = 0
  for index, row, _ in read(source, 0, len(source)):
    place = f"{source.place}: row {index}"
    if isinstance(row, InputError):
      raise InputError(f"{place}: {row}")
    name = column or next((name for name in QUESTION_COLUMNS if row.get(name) is not None), "")
    question = lookup(row, name) if name else None
    if not isinstance(question, str) or not is_text(question) or not question.strip():
      raise InputError(f"{place}: field {name or ' or '.join(QUESTION_COLUMNS)}: expected the text of a question")
    id = next((row[name] for name in ID_COLUMNS if row.get(name) is not None), index)
    count += 1
    yield EvalItem(source.name, str(id), question)
  if not count:
    raise InputError(f"{source.place}: expected at least one row of config.eval_sets.{source.name}, found none")
