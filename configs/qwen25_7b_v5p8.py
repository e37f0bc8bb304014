"""Qwen2.5-7B on MATH, optionally with GSM8K.

    python -m srpo_jax.launch --config=configs/qwen25_7b_v5p8.py --workdir=runs/qwen25-7b \
      --config.model.path=Qwen2.5-7B --config.data.train=math_train.jsonl --config.data.eval=math500.jsonl

Hardware: TPU v5p-8 (4 chips, one host, topology 2x2x1).
Data: MATH (the 12,000 problems outside MATH-500) as JSON Lines with its original columns. This base solves most of
GSM8K (openai/gsm8k, `main`). Label GSM8K first (`python -m srpo_jax.curate label`), so that easy rows are left out.
Result and hours: not run yet. At least 222 s per step and 247 chip-hours per 1,000 steps, by
`python -m srpo_jax.plan --config=configs/qwen25_7b_v5p8.py --topology=v5p:2x2x1`
(docs/plan/qwen25_7b_v5p8-v5p-2x2x1.md).
Watch: `response/length_mean` should grow slowly from about 500. `response/truncated_frac` should stay below a tenth,
`reward/language_mix` near zero and `policy/logprob_gap_p99` below 0.3.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.model.path = "Qwen/Qwen2.5-7B"
  config.mesh = {"data": 1, "fsdp": 1, "tensor": 4}  # 4 key/value heads, one per chip
  config.data.keep.easy = config.data.keep.solved = 0.0
  config.data.max_prompt_tokens = 1024
  config.rollout.prompts = 128
  config.rollout.group = 16
  config.rollout.max_new_tokens = 7168
  config.rollout.slots = 256
  config.train.micro_batch = 2
  config.train.pack_tokens = 8192
  config.train.head_chunk = 1024
  config.train.epochs = 4
  config.loss.importance_cap = 2.0  # rollouts are sampled in bf16
  config.eval.every = 20
  config.stages = {"stage1": base.stage({"math": 1.0})}
  return config
