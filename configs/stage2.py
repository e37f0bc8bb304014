"""Stage 2 of SRPO: code is phased in next to math, starting from the end of stage 1 with its history.

    python -m srpo_jax.launch --config=configs/stage2.py --config.init_from=runs/stage1 \
      --config.data.train=math.jsonl,code.jsonl --config.data.eval=math500.jsonl,humaneval.jsonl

Hardware: same as configs/stage1.py.
Data: the math rows must be the same as in stage 1. Prompts that stage 1 retired stay retired.
Result and hours: not run yet. At least 388 s per step and 6,898 chip-hours per 1,000 steps, by
`python -m srpo_jax.plan --config=configs/stage2.py --topology=v5p:4x4x4` (docs/plan/stage2-v5p-4x4x4.md).
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
