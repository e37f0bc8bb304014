"""Curates raw data sets and merges them into one.

    python -m srpo_jax.curate --config=configs/curate.py --config.output=DIR \\
      --config.sources.NAME.path=FILE_OR_HUB_NAME [--config.section.field=value ...]

The same command with the same config resumes an interrupted curation. Files in DIR:

    records/          curated data set (ArrayRecord, in the layout of TensorFlow Datasets)
    card.md           counts by stage and source, examples by rule, hashes and licences, with difficulty.png
    dropped/*.jsonl   all dropped rows, by stage, with the rule and the text that it matched
    curation.json     config, hashes of the inputs, and counts

To label the difficulty of a data set's rows (see its own --help):

    python -m srpo_jax.curate label ...
"""

import importlib
from collections.abc import Sequence

from srpo_jax.cli.run_flags import config_parser, read_config_file
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Runs the curation and prints its counts, or runs `label`."""
  if args and args[0] == "label":
    return importlib.import_module("srpo_jax.data.labelling.label").main(args[1:])
  options, overrides = config_parser("curate", __doc__ or "", args).parse_known_args(args)
  raw, _ = read_config_file("curate", options, overrides)
  # Imported late, so that a wrong flag is reported at once.
  from srpo_jax.data.curation.config import make_config
  from srpo_jax.data.curation.pipeline import curate

  start_logging()
  config = make_config(raw)
  result = curate(config)
  for name, counts in result["counts"].items():
    dropped = sum(sum(rules.values()) for rules in counts["dropped"].values())
    print(f"{name}: {counts['read']} rows read, {dropped} dropped, {sum(counts['kept'].values())} kept")
  print(f"{config.output}: {result['records']['n']} rows in records/, card.md, dropped/")


if __name__ == "__main__":
  run_cli(main)
