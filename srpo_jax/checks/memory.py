"""Check that every program of a step fits the memory of this machine's devices, as estimated by the plan."""

import os

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.config import Config
from srpo_jax.planning.plans import plan, verdict
from srpo_jax.planning.table import Plan
from srpo_jax.planning.workload import Lengths

TODO = "see python -m srpo_jax.plan; use fewer rollout.slots, a smaller train.micro_batch, or more devices"
TIGHT = 0.92  # share of the memory that XLA can use. Above it, a longer batch may not fit


def check_memory(config: Config, prompt: int) -> Finding:
  """Compiles a step's programs and compares their peak with the memory.

  Args:
    prompt: length of the longest prompt, in tokens.
  """
  new = config.rollout.max_new_tokens
  return finding(plan(config, None, Lengths(mean=new / 4, sigma=0.8, prompt=prompt)))


def finding(found: Plan) -> Finding:
  check, peak, available = "memory", found.peak, found.topology.chip.available
  if found.fits is False:
    return Finding(FAIL, check, verdict(found), TODO)
  assert peak is not None
  used = f"{peak.total / 2**30:.3g} GiB a device at most, in {peak.program}"
  if available is None and found.topology.chip.platform == "cpu":
    whole, has = peak.total * found.topology.chips, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = f"{whole / 2**30:.3g} GiB at most, in {peak.program}, of this machine's {has / 2**30:.3g}"
    return Finding(FAIL, check, text, TODO) if whole > has else Finding(PASS, check, text)
  if available is None:
    return Finding(PASS, check, f"{used}; nobody publishes what this device has")
  text = f"{used}, of {available / 2**30:.3g}"
  if peak.total > TIGHT * available:
    return Finding(WARN, check, text, "little memory is left: use fewer rollout.slots or a smaller train.micro_batch")
  return Finding(PASS, check, text)
