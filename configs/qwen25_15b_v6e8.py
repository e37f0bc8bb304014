"""Qwen2.5-1.5B on GSM8K and MATH.

    python -m srpo_jax.launch --config=configs/qwen25_15b_v6e8.py --workdir=runs/qwen25-15b \
      --config.model.path=Qwen2.5-1.5B --config.data.train=gsm8k_train.jsonl,math_train.jsonl \
      --config.data.eval=math500.jsonl

Hardware: TPU v6e-8 (one host, topology 2x4).
Data: GSM8K (openai/gsm8k, `main`) and MATH (the 12,000 problems outside MATH-500), as JSON Lines with their original
columns.
Result and hours: not run yet. At least 25.3 s per step and 56.3 chip-hours per 1,000 steps, by
`python -m srpo_jax.plan --config=configs/qwen25_15b_v6e8.py --topology=v6e:2x4` (docs/plan/qwen25_15b_v6e8-v6e-2x4.md).
Watch: `math/pool_size` falls, since GSM8K's easy half is soon retired. If `groups/zero_advantage_frac` is above a half,
most of the rollouts teach nothing, and MATH's share should grow. `policy/logprob_gap_p99` should stay below 0.3.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.model.path = "Qwen/Qwen2.5-1.5B"
  config.mesh = {"data": 1, "fsdp": 4, "tensor": 2}  # 2 key/value heads, one per chip
  config.data.max_prompt_tokens = 512
  config.rollout.prompts = 128
  config.rollout.group = 16
  config.rollout.max_new_tokens = 3584
  config.rollout.slots = 1024
  config.train.micro_batch = 16
  config.train.pack_tokens = 4096
  config.train.head_chunk = 256
  config.train.epochs = 3
  config.loss.importance_cap = 2.0  # rollouts are sampled in bf16
  config.eval.every = 20
  config.stages = {"stage1": base.stage({"math": 1.0})}
  return config
