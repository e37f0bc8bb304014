"""SRPO (two-Staged history-Resampling Policy Optimization, arXiv 2504.14286) in JAX."""

import os

# These choose how gs:// is accessed and must be set before the libraries that read them are imported. JetStream's
# dependencies install TensorFlow, and epath would then use it (8 s and 860 MB per process). gcsfs would ask for the
# type of each bucket over gRPC.
os.environ.setdefault("EPATH_USE_TF", "false")
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

# On import, transformers warns that its models need PyTorch. Nothing here uses those models, and the warning looks like
# a broken installation.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
