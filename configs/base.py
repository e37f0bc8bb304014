"""Defaults that every other config starts from: SRPO (arXiv 2504.14286) as published, as far as it is.

Not run by itself: `model.path` and `data.train` are empty. [S] stated by the paper's summaries, [I] inferred.
"""

from typing import Any

from ml_collections import ConfigDict

from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS


def stage(mix: dict[str, float] | None = None, **fields: Any) -> ConfigDict:
  """A stage of `mix`, by default of every domain that the data has; without an end of its own unless one is given."""
  defaults = {
    "start": {},
    "ramp": 0,
    "max_new_tokens": 0,
    "steps": 0,
    "epochs": 0,
    "plateau": "",
    "plateau_window": 1,
    "plateau_gain": 0.01,  # [I]
    "plateau_patience": 2,  # [I]
    "restore_retired": False,
  }
  return ConfigDict({"mix": mix or {}} | defaults | fields, convert_dict=True, type_safe=True)


def get_config() -> ConfigDict:
  return ConfigDict(
    {
      "model": {
        "path": "",  # Hugging Face folder of the base model
        "build": "",  # or module:function(**build_args) that makes one
        "build_args": {},
        "param_dtype": "float32",  # master weights
        "dtype": "bfloat16",  # computation and rollouts
        "remat": "full",
      },
      "mesh": {"data": 1, "fsdp": 1, "tensor": 1},  # devices along each axis
      "data": {
        "train": "",  # .jsonl, .parquet or module:function
        "eval": "",
        "format": "auto",
        "limit": 0,  # first rows alone; 0: all
        "eval_limit": 0,
        "max_prompt_tokens": 1024,
        # by label (see python -m srpo_jax.curate label): the share of the rows that stays
        "keep": {"unsolved": 1.0, "hard": 1.0, "medium": 1.0, "easy": 1.0, "solved": 1.0, "unlabelled": 1.0},
        "max_unsolved": 1.0,
      },
      "prompt": dict(DEFAULT_INSTRUCTIONS),
      "rollout": {
        "prompts": 256,  # [S]
        "group": 32,  # [S]
        "max_new_tokens": 10_240,  # [I]
        "temperature": 1.0,  # [I]
        "slots": 256,
        "chunk": 32,
        "prompt_bucket": 128,
        "backend": "jetstream",
      },
      "reward": {
        "format_weight": 0.1,  # [I]
        "mix_weight": 0.1,  # [I]
        "validator": "tags",
        "limit_s": 4.0,
        "workers": 0,  # half of the cores, from 2 to 8
        "function": "",
      },
      "sandbox": {  # of programs that a policy writes
        "min_tier": "bubblewrap",
        "slots": 0,  # one a core
        "limit_s": 4.0,
        "memory_mb": 1024,
        "packages": "",
      },
      "advantage": {"scale": "std", "function": ""},
      "loss": {
        "clip_low": 0.2,
        "clip_high": 0.2,
        "importance_cap": 0.0,  # off
        "updates": 1,  # [I] strictly on policy
      },
      "optimizer": {
        "learning_rate": 1e-6,  # [S]
        "b1": 0.9,  # [S]
        "b2": 0.95,  # [S]
        "eps": 1e-8,
        "weight_decay": 0.0,  # [I]
        "clip_norm": 1.0,  # [I]
      },
      "history": {"mode": "srpo", "dynamic_sampling": False},
      "train": {
        "seed": 0,
        "stage": 1,
        "steps": 0,  # 0: no limit
        "epochs": 0,
        "rollouts": 0,
        "micro_batch": 64,
        "length_bucket": 512,
        "pack_tokens": 0,
        "head_chunk": 64,
        "skip_zero_advantage": False,
      },
      "eval": {"every": 0, "samples": 1},
      "checkpoint": {"every": 10, "keep": 2, "keep_every": 0},
      "log": {"every": 1, "tensorboard": True, "progress": True},
      "stages": {"stage1": stage()},  # run in the order of their names
      "init_from": "",
    },
    convert_dict=True,
    type_safe=True,
  )
