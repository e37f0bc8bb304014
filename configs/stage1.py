"""Stage 1 of SRPO: math alone, 256 prompts x 32 rollouts a step, from a Qwen2.5 base model, until it plateaus.

    python -m srpo_jax.launch --config=configs/stage1.py \
      --config.model.path=Qwen2.5-32B --config.data.train=math.jsonl --config.data.eval=math500.jsonl

Rows that `python -m srpo_jax.curate label` found easy or solved are left out, unsolved ones are at most 30 %; rows
without a label stay. The length limit is of the published runs' order: mean responses grew from about 500 to about
2,500 tokens.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.stages = {"stage1": base.stage({"math": 1.0}, plateau="reward")}
  config.data.keep.easy = config.data.keep.solved = 0.0  # [S] train on the challenging ones
  config.data.max_unsolved = 0.3  # [I]
  config.train.epochs = 8
  config.eval.every = 20
  return config
