"""Qwen2.5-0.5B on GSM8K, or on GSM8K and MATH. The smallest real model.

    python -m srpo_jax.launch --config=configs/qwen25_05b_gpu.py --workdir=runs/qwen25-05b \
      --config.model.path=Qwen2.5-0.5B --config.data.train=gsm8k_train.jsonl,math_train.jsonl \
      --config.data.eval=gsm8k_test.jsonl

Hardware: one GPU with 80 GB, or with 24 GB (`--config=configs/qwen25_05b_gpu.py:24gb`). Install JAX for GPUs with
`pip install 'jax[cuda12]==0.10.2'`.
Data: GSM8K (openai/gsm8k, `main`) and MATH (the 12,000 problems outside MATH-500), as JSON Lines with their original
columns.
Result and hours: not run yet, on either card. With 80 GB, at least 5.0 s per step and 1.4 chip-hours per 1,000 steps,
by `python -m srpo_jax.plan --config=configs/qwen25_05b_gpu.py --topology=h100:1` (docs/plan/qwen25_05b_gpu-h100-1.md).
Watch: `reward/format` rises first, within some 20 steps (before that, a base model of this size seldom closes its
tags). `policy/logprob_gap_p99` should stay below 0.3: rollouts are bf16, and the importance cap limits the rest. If
`response/truncated_frac` is above a tenth, raise `rollout.max_new_tokens` and `train.pack_tokens` with it.
"""

from ml_collections import ConfigDict

from configs import base

CARDS = ("80gb", "24gb")


def get_config(card: str = "80gb") -> ConfigDict:
  if card not in CARDS:
    raise ValueError(f"{card}: expected one of the cards {', '.join(CARDS)}")
  config = base.get_config()
  config.model.path = "Qwen/Qwen2.5-0.5B"
  config.data.max_prompt_tokens = 512
  config.rollout.prompts = 64
  config.rollout.group = 16
  config.rollout.max_new_tokens = 2048
  config.rollout.slots = 256
  config.train.micro_batch = 8
  config.train.pack_tokens = 4096
  config.train.head_chunk = 256
  config.train.epochs = 3
  config.loss.importance_cap = 2.0  # rollouts are sampled in bf16
  config.eval.every = 20
  config.stages = {"stage1": base.stage({"math": 1.0})}
  if card == "24gb":
    config.rollout.slots = 128
    config.train.micro_batch = 2
  return config
