"""Curation of the math and code sets that SRPO-like training uses.

    python -m srpo_jax.curate --config=configs/curate.py --config.output=data/train \
        --config.sources.gsm8k.path=gsm8k_train.jsonl --config.sources.mbpp.path=google-research-datasets/mbpp

A source is used when it has a path: a JSON Lines or parquet file, an hf:// address, or its name on the Hugging Face
hub. `--config=configs/curate.py:published` gives each its hub name. Evaluation sets are always compared with; one that
cannot be read is an error, and `--config.eval_sets.NAME.path=none` leaves one out, which the card then says.
"""

from ml_collections import ConfigDict

# Source -> its name on the hub, for `:published`.
PUBLISHED = {
  "gsm8k": "openai/gsm8k",
  "math": "DigitalLearningGmbH/MATH-lighteval",
  "dapo": "BytedTsinghua-SIA/DAPO-Math-17k",
  "deepscaler": "agentica-org/DeepScaleR-Preview-Dataset",
  "eurus": "PRIME-RL/Eurus-2-RL-Data",
  "mbpp": "google-research-datasets/mbpp",
}

# Modules of the standard library that compute: nothing of files, network, processes or the machine.
IMPORTS = (
  "math,cmath,re,collections,itertools,functools,heapq,bisect,string,operator,typing,copy,random,fractions,decimal,"
  "statistics,numbers,datetime,calendar,sys,array,queue,dataclasses,enum,abc,textwrap,unicodedata,struct,hashlib,json,"
  "io,time,cProfile,types,contextlib,graphlib,difflib,zlib,binascii,base64,warnings,__future__"
)


def get_config(sources: str = "") -> ConfigDict:
  published = sources == "published"
  if sources and not published:
    raise ValueError(f"configs/curate.py:{sources}: expected configs/curate.py or configs/curate.py:published")
  config = {
    "output": "",
    "name": "srpo_curated",
    "version": "1.0.0",
    "description": "Math and code questions with rule rewards, curated for SRPO.",
    "sources": {
      "gsm8k": source("gsm8k", licence="MIT", subset="main"),
      "math": source("math", licence="MIT"),
      "dapo": source("chat", licence="Apache-2.0"),
      "deepscaler": source("deepscaler", licence="MIT"),
      "eurus": source("chat", licence="MIT"),
      # Three asserts a row is all that MBPP has: at the usual minimum none of it would be left.
      "mbpp": source("mbpp", licence="CC-BY-4.0", subset="full", min_tests=3),
      "humaneval": source("humaneval", licence="MIT", split="test", min_tests=1),
      "livecodebench": source("livecodebench", licence="not stated by its authors", split="test"),
      "generic": source("generic"),  # any other set: name its columns, and its domain
      "native": source("native"),
    },
    "eval_sets": {  # what the training configs evaluate on, and what reports compare
      "math500": eval_set("HuggingFaceH4/MATH-500"),
      "aime24": eval_set("HuggingFaceH4/aime_2024", split="train"),
      "amc23": eval_set("math-ai/amc23"),
      "mbpp": eval_set("google-research-datasets/mbpp", subset="full", where=("task_id", 11, 510)),  # its test split
      "humaneval": eval_set("openai/openai_humaneval"),
      "livecodebench": eval_set("hf://datasets/livecodebench/code_generation_lite/test6.jsonl"),
    },
    "rules": {
      "math": "image,table,proof,multi_part,multiple_choice,blank",
      "code": "files,network,environment,interactive,several_answers",
      "max_question": 8192,
      "max_answer": 256,
      "min_tests": 5,
      "imports": IMPORTS,
    },
    "duplicates": {"jaccard": 0.8},
    "verify": {
      "gold": True,
      "programs": True,
      "workers": 0,  # half of the cores, from 2 to 8
      "limit_s": 4.0,
      "min_tier": "bubblewrap",
      "memory_mb": 1024,
      "packages": "",
    },
    "work": {"shard_rows": 8192, "workers": 0, "progress": True},
  }
  config = ConfigDict(config, convert_dict=True, type_safe=True)
  if published:
    for name, path in PUBLISHED.items():
      config.sources[name].path = path
  return config


def source(
  format: str, *, licence: str = "", subset: str = "", split: str = "train", min_tests: int = 0
) -> dict[str, object]:
  """The fields of a source that has no path yet."""
  fields = "id domain question answer tests difficulty pass_rate source reference"
  return {
    "path": "",
    "subset": subset,
    "split": split,
    "format": format,
    "domain": "",
    "licence": licence,
    "min_tests": min_tests,  # 0: rules.min_tests
    "limit": 0,
    "where": rows_within("", 0, 0),
    "columns": dict.fromkeys(fields.split(), ""),
  }


def eval_set(
  path: str, *, subset: str = "", split: str = "test", column: str = "", where: tuple[str, int, int] = ("", 0, 0)
) -> dict[str, object]:
  """The fields of an evaluation set."""
  return {"path": path, "subset": subset, "split": split, "column": column, "where": rows_within(*where)}


def rows_within(column: str, low: int, high: int) -> dict[str, object]:
  """Takes the rows whose whole number in a column lies in a range, both ends included; no column: all rows."""
  return {"column": column, "low": low, "high": high}
