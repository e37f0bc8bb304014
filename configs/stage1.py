"""Stage 1 of SRPO: math alone, 256 prompts x 32 rollouts a step, from a Qwen2.5 base model, until it plateaus.

    python -m srpo_jax.launch --config=configs/stage1.py \
      --config.model.path=Qwen2.5-32B --config.data.train=math.jsonl --config.data.eval=math500.jsonl

The length limit is the published runs' order of magnitude: responses grew from about 500 to about 2,500 tokens.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.stages = {"stage1": base.stage({"math": 1.0}, plateau="reward")}
  config.train.epochs = 8
  config.eval.every = 20
  return config
