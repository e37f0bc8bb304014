"""SRPO (two-Staged history-Resampling Policy Optimization, arXiv 2504.14286) in JAX."""
