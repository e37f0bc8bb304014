"""Qwen2.5-7B on a TPU v5p-8 (4 chips, one host, topology 2x2x1): MATH, with GSM8K if you like.

    python -m srpo_jax.launch --config=configs/qwen25_7b_v5p8.py --workdir=runs/qwen25-7b \
      --config.model.path=Qwen2.5-7B --config.data.train=math_train.jsonl --config.data.eval=math500.jsonl

Data: MATH (the 12,000 problems outside MATH-500) as JSON Lines in its own columns; GSM8K (openai/gsm8k, `main`) is
mostly solved by this base: label it first (`python -m srpo_jax.curate label`), and easy rows are left out.

The plan, by `python -m srpo_jax.plan --config=configs/qwen25_7b_v5p8.py --topology=v5p:2x2x1` (mean length 1,792;
all of it in docs/plan):

| GiB a chip, while this runs | weights | moments | gradients | serving | KV cache | temporaries | total |
| --------------------------- | ------: | ------: | --------: | ------: | -------: | ----------: | ----: |
| reshard                     |    7.09 |   14.19 |         - |    3.55 |        - |       0.056 | 24.88 |
| prefill longest             |    7.09 |   14.19 |         - |    3.55 |    28.00 |         0.1 | 52.93 |
| insert                      |    7.09 |   14.19 |         - |    3.55 |    28.00 |        0.18 | 53.01 |
| generate                    |    7.09 |   14.19 |         - |    3.55 |    28.00 |        1.42 | 54.24 |
| accumulate                  |    7.09 |   14.19 |      7.09 |       - |        - |       18.99 | 47.36 |
| apply                       |    7.09 |   14.19 |      7.09 |       - |        - |       0.058 | 28.43 |

FITS: 54.24 GiB of 95.74 GiB that XLA can use (published: 95.00 GiB), 57%, in generate

| BOUND, seconds a step | runs | FLOPs |   HBM |   ICI | at least | bound by |
| --------------------- | ---: | ----: | ----: | ----: | -------: | -------: |
| reshard               |    1 | 0.000 | 0.004 | 0.000 |    0.004 |      HBM |
| prefill               |  128 | 0.235 | 0.228 | 0.034 |    0.235 |    FLOPs |
| insert                |  128 | 0.000 | 0.057 | 0.000 |    0.057 |      HBM |
| decode                |  612 |  40.2 |  89.4 |   8.9 |     89.4 |      HBM |
| zero gradients        |    1 | 0.000 | 0.003 | 0.000 |    0.003 |      HBM |
| forward and backward  |  236 |   133 |  41.7 |   9.8 |      133 |    FLOPs |
| optimizer             |    1 | 0.000 | 0.022 | 0.000 |    0.022 |      HBM |
| step                  |      |       |       |       |      222 |          |

BOUNDS: step at least 222 s; 16,094 generated tokens/s at most (39,886 while sampling); MFU at most 70% in the update,
55% over the step; at least 247 chip-hours per 1,000 steps

Watch: `response/length_mean`, which should grow slowly from about 500; `response/truncated_frac` below a tenth;
`reward/language_mix` near zero; `policy/logprob_gap_p99` below 0.3.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.model.path = "Qwen/Qwen2.5-7B"
  config.mesh = {"data": 1, "fsdp": 1, "tensor": 4}  # 4 key/value heads: one a chip
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
