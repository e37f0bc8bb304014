"""Caches for results that can be recreated, kept between runs."""

import hashlib
import os
import platform
from pathlib import Path

import jax


def cache_dir() -> Path:
  """Returns $SRPO_CACHE, or else the folder srpo_jax in the user's cache folder."""
  default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srpo_jax"
  return Path(os.environ.get("SRPO_CACHE") or default)


def processor_id() -> str:
  """Returns a digest of the processor's model and features."""
  info = Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
  about = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
  return hashlib.sha256("\n".join([platform.machine(), *about]).encode()).hexdigest()[:12]


def enable_compilation_cache() -> None:
  """Turns on JAX's persistent compilation cache.

  Each kind of processor has its own folder, because compiled CPU code does not run on other kinds.
  """
  jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla" / processor_id()))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
