"""Qwen3-0.6B-Base on GSM8K, or on GSM8K and MATH. The smallest Qwen3.

    python -m srpo_jax.launch --config=configs/qwen3_06b_gpu.py --workdir=runs/qwen3-06b \
      --config.data.train=gsm8k_train.jsonl,math_train.jsonl --config.data.eval=gsm8k_test.jsonl

Hardware: one GPU with 80 GB, or with 24 GB (`--config=configs/qwen3_06b_gpu.py:24gb`). Install JAX for GPUs with
`pip install 'jax[cuda12]==0.10.2'`.
Data: as in configs/qwen25_05b_gpu.py.
Result and hours: not run yet.
Watch: as in configs/qwen25_05b_gpu.py. The base model has seen chains of thought, so its responses are longer than
those of Qwen2.5-0.5B: look at `response/truncated_frac` first.
"""

from ml_collections import ConfigDict

from configs import qwen25_05b_gpu


def get_config(card: str = "80gb") -> ConfigDict:
  config = qwen25_05b_gpu.get_config(card)
  config.model.path = "Qwen/Qwen3-0.6B-Base"
  config.rollout.slots = 96 if card == "80gb" else 24  # a token takes nine times the cache of Qwen2.5-0.5B
  return config
