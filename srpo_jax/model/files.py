"""Names of the files in a model's Hugging Face folder."""

from typing import Any

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
WEIGHTS = ".safetensors"
# Files copied unchanged with the weights: everything that a tokenizer or generation may need.
COMPANION_FILES = (
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "vocab.json",
  "merges.txt",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
)
TEMPLATES = "additional_chat_templates/*.jinja"  # chat templates beside the default one, also copied


def companion_names(folder: Any) -> list[str]:
  """Returns the names of a folder's companion files, relative to it. `folder` is a path, local or on gs://."""
  templates = sorted(f"{file.parent.name}/{file.name}" for file in folder.glob(TEMPLATES))
  return [*(name for name in COMPANION_FILES if (folder / name).is_file()), *templates]
