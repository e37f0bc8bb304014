"""Stage 1 of SRPO: math only, 256 prompts x 32 rollouts per step, from a Qwen2.5 base model, until it plateaus.

    python -m srpo_jax.launch --config=configs/stage1.py \
      --config.model.path=Qwen2.5-32B --config.data.train=math.jsonl --config.data.eval=math500.jsonl

Hardware: Qwen2.5-32B on the 64 chips of a TPU v5p-128 (topology 4x4x4). On 4x4x8 add --config.mesh.fsdp=16.
Data: rows that `python -m srpo_jax.curate label` found easy or solved are left out, and at most 30 % of the kept rows
are unsolved. Rows without a label stay.
Result and hours: not run yet. At least 388 s per step and 6,898 chip-hours per 1,000 steps, by
`python -m srpo_jax.plan --config=configs/stage1.py --topology=v5p:4x4x4` (docs/plan/stage1-v5p-4x4x4.md).

The length limit follows the published runs: mean responses grew from about 500 to about 2,500 tokens.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.model.path = "Qwen/Qwen2.5-32B"
  config.mesh = {"data": 1, "fsdp": 8, "tensor": 8}  # 8 key/value heads, one per chip
  config.rollout.slots = 1024
  config.train.micro_batch = 16  # two rows per set of `tensor` chips, or one row on 4x4x8
  config.train.pack_tokens = 11_264  # longest prompt plus longest response
  config.train.head_chunk = 1024  # the head is read once per chunk, so larger chunks need fewer reads
  config.loss.importance_cap = 2.0  # rollouts are sampled in bf16
  config.stages = {"stage1": base.stage({"math": 1.0}, plateau="reward")}
  config.data.keep.easy = config.data.keep.solved = 0.0  # [S] train on challenging problems
  config.data.max_unsolved = 0.3  # [I]
  config.train.epochs = 8
  config.eval.every = 20
  return config
