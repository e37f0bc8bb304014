"""Qwen2.5-1.5B on a TPU v6e-8 (one host, topology 2x4): GSM8K and MATH.

    python -m srpo_jax.launch --config=configs/qwen25_15b_v6e8.py --workdir=runs/qwen25-15b \
      --config.model.path=Qwen2.5-1.5B --config.data.train=gsm8k_train.jsonl,math_train.jsonl \
      --config.data.eval=math500.jsonl

Data: GSM8K (openai/gsm8k, `main`) and MATH (the 12,000 problems outside MATH-500), as JSON Lines in their own columns.

The plan, by `python -m srpo_jax.plan --config=configs/qwen25_15b_v6e8.py --topology=v6e:2x4` (mean length 896;
all of it in docs/plan):

| GiB a chip, while this runs | weights | moments | gradients | serving | KV cache | temporaries | total |
| --------------------------- | ------: | ------: | --------: | ------: | -------: | ----------: | ----: |
| reshard                     |    0.72 |    1.44 |         - |    1.44 |        - |        1.49 |  5.08 |
| prefill longest             |    0.72 |    1.44 |         - |    1.44 |    14.00 |       0.057 | 17.65 |
| insert                      |    0.72 |    1.44 |         - |    1.44 |    14.00 |       0.057 | 17.65 |
| generate                    |    0.72 |    1.44 |         - |    1.44 |    14.00 |        1.32 | 18.91 |
| accumulate                  |    0.72 |    1.44 |      0.72 |       - |        - |        5.21 |  8.08 |
| apply                       |    0.72 |    1.44 |      0.72 |       - |        - |       0.054 |  2.93 |

FITS: 18.91 GiB of 31.25 GiB that XLA can use (published: 32.00 GiB), 61%, in generate

| BOUND, seconds a step | runs | FLOPs |   HBM |   ICI | at least | bound by |
| --------------------- | ---: | ----: | ----: | ----: | -------: | -------: |
| reshard               |    1 | 0.000 | 0.004 | 0.003 |    0.004 |      HBM |
| prefill               |  128 | 0.024 | 0.122 | 0.013 |    0.122 |      HBM |
| insert                |  128 | 0.000 | 0.029 | 0.000 |    0.029 |      HBM |
| decode                |  144 |   2.0 |  16.2 |   1.4 |     16.2 |      HBM |
| zero gradients        |    1 | 0.000 | 0.000 | 0.000 |    0.000 |      HBM |
| forward and backward  |   30 |   3.7 |   9.0 | 0.878 |      9.0 |      HBM |
| optimizer             |    1 | 0.000 | 0.004 | 0.000 |    0.004 |      HBM |
| step                  |      |       |       |       |     25.3 |          |

BOUNDS: step at least 25.3 s; 70,589 generated tokens/s at most (109,693 while sampling); MFU at most 28% in the
update, 13% over the step; at least 56.3 chip-hours per 1,000 steps

Watch: `math/pool_size`, since GSM8K's easy half is soon retired; `groups/zero_advantage_frac`: above a half, most of
the rollouts teach nothing, and MATH's share should grow; `policy/logprob_gap_p99` below 0.3.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.model.path = "Qwen/Qwen2.5-1.5B"
  config.mesh = {"data": 1, "fsdp": 4, "tensor": 2}  # 2 key/value heads: one a chip
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
