"""SRPO (two-Staged history-Resampling Policy Optimization, arXiv 2504.14286) for Qwen2.5 in JAX."""

import os

# JetStream's dependencies bring TensorFlow, through which epath would reach gs:// then: 8 s and 860 MB a process.
os.environ.setdefault("EPATH_USE_TF", "false")
