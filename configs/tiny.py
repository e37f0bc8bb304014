"""The whole of stage 1 on a laptop's CPU: a 0.3 M-parameter Qwen2 learns arithmetic. No download.

    python -m srpo_jax.launch --config=configs/tiny.py --workdir=runs/demo

The base model is made on first use (a short supervised warm-up on imperfect worked examples) and kept in a cache.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.model.build = "srpo_jax.warmup:tiny_base"
  config.model.build_args = ConfigDict(
    {
      "hidden_size": 96,
      "intermediate_size": 256,
      "layers": 3,
      "heads": 6,
      "kv_heads": 3,
      "steps": 700,
      "batch": 128,
      "learning_rate": 3e-3,
      "seed": 0,
    }
  )
  config.model.dtype = "float32"
  config.model.remat = "none"
  config.data.train = "srpo_jax.data.synthetic:train_problems"
  config.data.limit = 2400
  config.data.eval = "srpo_jax.data.synthetic:heldout_problems"
  config.data.eval_limit = 768
  config.rollout.prompts = 32
  config.rollout.group = 16
  config.rollout.max_new_tokens = 64
  config.rollout.slots = 256
  config.rollout.chunk = 8
  config.rollout.prompt_bucket = 16
  config.optimizer.learning_rate = 2e-4
  config.train.steps = 220
  config.train.micro_batch = 32
  config.train.length_bucket = 16
  config.train.skip_zero_advantage = True
  config.eval.every = 44
  config.eval.samples = 4
  config.checkpoint.every = 50
  config.log.every = 10
  return config
