"""Curates raw data sets into one: python -m srpo_jax.curate --config=configs/curate.py --config.output=DIR
--config.sources.NAME.path=FILE_OR_HUB_NAME [--config.section.field=value ...]

Started again with the same config it goes on where it was. DIR then holds

    records/          the data set (ArrayRecord, in the layout of TensorFlow Datasets)
    card.md           counts by stage and source, examples by rule, hashes, licences; difficulty.png
    dropped/*.jsonl   every dropped row, by stage, with the rule and the text it matched
    curation.json     the config, the inputs' hashes and the counts

    python -m srpo_jax.curate label ...

labels the difficulty of a data set's rows (see its own --help).
"""

import importlib
from collections.abc import Sequence

from srpo_jax.cli.run_flags import config_parser, read_config_file
from srpo_jax.utils.errors import run_cli
from srpo_jax.utils.logs import start_logging


def main(args: Sequence[str]) -> None:
  """Curates, or hands over to the labelling, as the command line says."""
  if args and args[0] == "label":
    return importlib.import_module("srpo_jax.data.labelling.label").main(args[1:])
  options, overrides = config_parser("curate", __doc__ or "", args).parse_known_args(args)
  raw, _ = read_config_file("curate", options, overrides)
  # Imported late: a wrong flag is told at once.
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
