"""Qwen2.5-0.5B on one GPU of 80 GB: GSM8K, or GSM8K and MATH. The smallest real model: an afternoon's run.

    python -m srpo_jax.launch --config=configs/qwen25_05b_gpu.py --workdir=runs/qwen25-05b \
      --config.model.path=Qwen2.5-0.5B --config.data.train=gsm8k_train.jsonl,math_train.jsonl \
      --config.data.eval=gsm8k_test.jsonl

Data: GSM8K (openai/gsm8k, `main`) and MATH (the 12,000 problems outside MATH-500), as JSON Lines in their own columns.
The wheel of JAX for a GPU is `pip install 'jax[cuda12]==0.10.2'`.

The plan, by `python -m srpo_jax.plan --config=configs/qwen25_05b_gpu.py --topology=h100:1` (mean length 512;
all of it in docs/plan):

| GiB a chip, while this runs | weights | moments | gradients | serving | KV cache | temporaries | total |
| --------------------------- | ------: | ------: | --------: | ------: | -------: | ----------: | ----: |
| reshard                     |    1.84 |    3.68 |         - |    0.92 |        - |        0.00 |  6.44 |
| prefill longest             |    1.84 |    3.68 |         - |    0.92 |     7.50 |        1.93 | 15.87 |
| insert                      |    1.84 |    3.68 |         - |    0.92 |     7.50 |       15.01 | 28.95 |
| generate                    |    1.84 |    3.68 |         - |    0.92 |     7.50 |       16.84 | 30.78 |
| accumulate                  |    1.84 |    3.68 |      1.84 |       - |        - |       28.73 | 36.09 |
| apply                       |    1.84 |    3.68 |      1.84 |       - |        - |        1.84 |  9.20 |

FITS: 36.09 GiB of 74.51 GiB that XLA can use (published: 74.51 GiB), 48%, in accumulate

| BOUND, seconds a step | runs | FLOPs |   HBM |   ICI | at least | bound by |
| --------------------- | ---: | ----: | ----: | ----: | -------: | -------: |
| reshard               |    1 | 0.000 | 0.001 | 0.000 |    0.001 |      HBM |
| prefill               |   64 | 0.008 | 0.019 | 0.000 |    0.019 |      HBM |
| insert                |   64 | 0.000 | 0.001 | 0.000 |    0.001 |      HBM |
| decode                |  112 | 0.942 |   2.1 | 0.000 |      2.1 |      HBM |
| zero gradients        |    1 | 0.000 | 0.001 | 0.000 |    0.001 |      HBM |
| forward and backward  |   19 |   2.9 |   1.3 | 0.000 |      2.9 |    FLOPs |
| optimizer             |    1 | 0.000 | 0.004 | 0.000 |    0.004 |      HBM |
| step                  |      |       |       |       |      5.0 |          |

BOUNDS: step at least 5.0 s; 101,346 generated tokens/s at most (242,741 while sampling); MFU at most 64% in the
update, 50% over the step; at least 1.4 chip-hours per 1,000 steps

ESTIMATE: no such GPU is here, so XLA:CPU compiled the programs. FLOPs, weights, moments, gradients, serving weights
and cache are exact; temporaries are XLA:CPU's (its attention keeps [T, T] scores, which cuDNN's does not); times are
of a closed form (srpo_jax/planning/analytic.py), not of a compiled GPU program

Watch: `reward/format` rises first, within some 20 steps (a base model of this size seldom closes its tags before);
`policy/logprob_gap_p99` below 0.3: rollouts are bf16, and the importance cap is on for what is above; and
`response/truncated_frac`: above a tenth, raise `rollout.max_new_tokens` and `train.pack_tokens` with it.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
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
  return config
