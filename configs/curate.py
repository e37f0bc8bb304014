"""Curation of the math and code sets that SRPO-like training uses.

    python -m srpo_jax.curate --config=configs/curate.py --config.output=data/train \
        --config.sources.gsm8k.path=gsm8k_train.jsonl --config.sources.mbpp.path=google-research-datasets/mbpp

A source is used if it has a path: a JSON Lines or parquet file, an hf:// address, or its name on the Hugging Face hub.
`--config=configs/curate.py:published` sets the paths of the published sources to their hub names. Training rows are
always compared with the evaluation sets. An evaluation set that cannot be read is an error. To leave one out, use
`--config.eval_sets.NAME.path=none`. The card then says so.

Hardware: CPU cores and, for `:published`, the network.
Result and hours: not run yet on the published sets. docs/curation has the card of a smaller curation.
"""

from ml_collections import ConfigDict

from srpo_jax.data.curation.config import CurateConfig, EvalSetConfig, SourceConfig
from srpo_jax.utils.fields import defaults

# Source -> its name on the hub, for `:published`.
PUBLISHED = {
  "gsm8k": "openai/gsm8k",
  "math": "DigitalLearningGmbH/MATH-lighteval",
  "dapo": "BytedTsinghua-SIA/DAPO-Math-17k",
  "deepscaler": "agentica-org/DeepScaleR-Preview-Dataset",
  "eurus": "PRIME-RL/Eurus-2-RL-Data",
  "mbpp": "google-research-datasets/mbpp",
}


def get_config(sources: str = "") -> ConfigDict:
  published = sources == "published"
  if sources and not published:
    raise ValueError(f"configs/curate.py:{sources}: expected configs/curate.py or configs/curate.py:published")
  config = defaults(CurateConfig) | {
    "sources": {
      "gsm8k": source("gsm8k", licence="MIT", subset="main"),
      "math": source("math", licence="MIT"),
      "dapo": source("chat", licence="Apache-2.0"),
      "deepscaler": source("deepscaler", licence="MIT"),
      "eurus": source("chat", licence="MIT"),
      # MBPP has only three asserts per row, so the usual minimum would drop all rows.
      "mbpp": source("mbpp", licence="CC-BY-4.0", subset="full", min_tests=3),
      "humaneval": source("humaneval", licence="MIT", split="test", min_tests=1),
      "livecodebench": source("livecodebench", licence="not stated by its authors", split="test"),
      "generic": source("generic"),  # for any other set, with its columns and domain named in the config
      "native": source("native"),
    },
    "eval_sets": {  # sets that the training configs evaluate on and that reports compare
      "math500": eval_set("HuggingFaceH4/MATH-500"),
      "aime24": eval_set("HuggingFaceH4/aime_2024", split="train"),
      "amc23": eval_set("math-ai/amc23"),
      "mbpp": eval_set("google-research-datasets/mbpp", subset="full", where=("task_id", 11, 510)),  # its test split
      "humaneval": eval_set("openai/openai_humaneval"),
      "livecodebench": eval_set("hf://datasets/livecodebench/code_generation_lite/test6.jsonl"),
    },
  }
  config = ConfigDict(config, convert_dict=True, type_safe=True)
  if published:
    for name, path in PUBLISHED.items():
      config.sources[name].path = path
  return config


def source(
  format: str, *, licence: str = "", subset: str = "", split: str = "train", min_tests: int = 0
) -> dict[str, object]:
  """Returns the fields of a source that has no path yet."""
  given = {"format": format, "licence": licence, "subset": subset, "split": split, "min_tests": min_tests}
  return defaults(SourceConfig) | given


def eval_set(
  path: str, *, subset: str = "", split: str = "test", column: str = "", where: tuple[str, int, int] = ("", 0, 0)
) -> dict[str, object]:
  """Returns the fields of an evaluation set. `where` is (column, low, high) of a `WhereConfig`."""
  rows = dict(zip(("column", "low", "high"), where, strict=True))
  return defaults(EvalSetConfig) | {"path": path, "subset": subset, "split": split, "column": column, "where": rows}
