"""SRPO (two-Staged history-Resampling Policy Optimization, arXiv 2504.14286) in JAX."""

import os

# How gs:// is reached, settled before the libraries that read this are imported. JetStream's dependencies bring
# TensorFlow, which epath would take then (8 s and 860 MB a process); gcsfs would ask for each bucket's kind over gRPC.
os.environ.setdefault("EPATH_USE_TF", "false")
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

# transformers says at its import that models need PyTorch. Nothing here uses its models: the line reads like a broken
# installation.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
