"""The supported model families."""

from collections.abc import Mapping

from srpo_jax.model.families import llama, qwen2, qwen3
from srpo_jax.model.families.config_file import ConfigFile
from srpo_jax.model.families.family import Family

FAMILIES: Mapping[str, Family] = {  # model_type of config.json -> family
  "llama": llama.FAMILY,
  "qwen2": qwen2.FAMILY,
  "qwen3": qwen3.FAMILY,
}


def find_family(config: ConfigFile) -> Family:
  """Returns the family of a config.json.

  Raises:
    InputError: the file names no supported family, another architecture, or modelling code of its own.
  """
  model_type = config.fields.get("model_type")
  if not isinstance(model_type, str) or model_type not in FAMILIES:
    config.refuse("model_type", f"one of {family_names()}")
  family = FAMILIES[model_type]
  architectures = config.fields.get("architectures") or [family.architecture]
  if architectures != [family.architecture]:
    config.refuse("architectures", f"{family.architecture} for model_type {model_type}")
  if "AutoModelForCausalLM" in config.section("auto_map"):
    config.refuse("auto_map", "no AutoModelForCausalLM in it: code of a model folder is not run")
  return family


def family_names() -> str:
  """Returns the supported values of model_type, for messages."""
  return ", ".join(FAMILIES)
