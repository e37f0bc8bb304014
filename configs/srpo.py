"""Both stages of SRPO in one run: math until its reward plateaus, then math and code.

    python -m srpo_jax.launch --config=configs/srpo.py --config.model.path=Qwen2.5-32B \
      --config.data.train=math.jsonl,code.jsonl --config.data.eval=math500.jsonl,humaneval.jsonl

The updates are the same as running configs/stage1.py and then configs/stage2.py, but in one workdir.

Hardware: same as configs/stage1.py.
Result and hours: not run yet. The bounds per step are the same as for configs/stage1.py.
"""

from ml_collections import ConfigDict

from configs import stage1, stage2


def get_config() -> ConfigDict:
  first, second = stage1.get_config(), stage2.get_config()
  first.stages = {**first.stages, **second.stages}
  first.train.epochs = second.train.epochs
  return first
