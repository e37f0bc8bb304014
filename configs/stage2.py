"""Stage 2 of SRPO: code comes in gradually beside math, from where stage 1 ended, with its history.

    python -m srpo_jax.launch --config=configs/stage2.py --config.init_from=runs/stage1 \
      --config.data.train=math.jsonl,code.jsonl --config.data.eval=math500.jsonl,humaneval.jsonl

The math rows must be those of stage 1: prompts that it retired stay retired.
"""

from ml_collections import ConfigDict

from configs import base, stage1

SHARES = {"start": {"math": 0.9, "code": 0.1}, "mix": {"math": 0.5, "code": 0.5}}  # [I]


def get_config() -> ConfigDict:
  config = stage1.get_config()
  config.init_from = "runs/stage1"
  config.stages = {"stage2": base.stage(**SHARES, ramp=100, plateau="reward")}
  config.train.stage = 2
  config.train.epochs = 16
  return config
