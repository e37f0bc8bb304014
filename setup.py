"""Adds the recipes in configs/ to the wheel as srpo_jax.configs. Everything else is in pyproject.toml.

pyproject.toml can either find packages or list them. Finding them and adding one from another folder needs code.
"""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=["srpo_jax", "srpo_jax.*"]), "srpo_jax.configs"],
  package_dir={"srpo_jax.configs": "configs"},
)
