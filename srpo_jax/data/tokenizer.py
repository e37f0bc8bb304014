"""Tokenizer of a Hugging Face folder. It encodes exactly as the folder's tokenizer.json says.

`transformers.AutoTokenizer` is not used, because it rebuilds the tokenizer of some model types. It gives every folder
with `model_type: qwen2` Qwen's own pre-tokenizer, for example, whatever tokenizer.json says. Other programs in the
folder's life (its training, vLLM, llama.cpp) use tokenizer.json as it stands, so the model would see foreign ids.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json

FILE, SETTINGS_FILE, NAMES_FILE = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE_FILE, TEMPLATE_FOLDER = "chat_template.jinja", "additional_chat_templates"
SETTINGS = ("model_max_length", "clean_up_tokenization_spaces", "padding_side", "truncation_side")
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
  """Returns the tokenizer of a Hugging Face folder, with its special tokens, chat template and settings.

  Flags of added tokens in tokenizer_config.json are ignored where tokenizer.json has others. A truncation or padding
  that tokenizer.json asks for is left out, because a prompt must keep its length.

  Raises:
    InputError: a file has a bad value, a special token is not in tokenizer.json, or transformers changes the tokenizer.
    Exception: tokenizer.json cannot be parsed. The class `tokenizers` raises is Exception itself.
  """
  stored = Tokenizer.from_file(str(folder / FILE))
  stored.no_truncation()
  stored.no_padding()
  config = read_json(folder / SETTINGS_FILE) if (folder / SETTINGS_FILE).is_file() else {}
  tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=stored,
    chat_template=_chat_template(folder, config),
    **{name: config[name] for name in SETTINGS if config.get(name) is not None},
  )
  # Set only now. The constructor would add each named token again, and look the name up on the hub.
  tokenizer.name_or_path = str(folder)
  for name, token in _special_tokens(folder, config, stored):
    setattr(tokenizer, name, token)
  tokenizer.backend_tokenizer.post_processor = stored.post_processor  # the constructor fills in a missing one
  _check_same(folder / FILE, stored, tokenizer.backend_tokenizer)
  return tokenizer


def _special_tokens(folder: Path, config: dict[str, Any], stored: Tokenizer) -> Iterator[tuple[str, Any]]:
  """Yields the attributes of the special tokens with their values.

  As in transformers, special_tokens_map.json counts only for folders from before `added_tokens_decoder` existed.
  """
  names = dict(config)
  source = folder / SETTINGS_FILE
  if "added_tokens_decoder" not in config and (folder / NAMES_FILE).is_file():
    names |= read_json(folder / NAMES_FILE)
    source = folder / NAMES_FILE
  for name in NAMED:
    token = _text(names.get(name), f"{source}: {name}")
    # Nothing here pads, so a padding token outside of the vocabulary does no harm.
    if token is None or (name == "pad_token" and stored.token_to_id(token) is None):
      continue
    if stored.token_to_id(token) is None:
      raise InputError(f"{source}: {name} is {token!r}, expected a token of {FILE}")
    yield name, token
  more = names.get("extra_special_tokens") or names.get("additional_special_tokens") or []
  more = list(more.values()) if isinstance(more, dict) else more
  if not isinstance(more, list):
    raise InputError(f"{source}: extra_special_tokens is {more!r}, expected a list of tokens")
  texts = [_text(token, f"{source}: extra_special_tokens") for token in more]
  yield "extra_special_tokens", [text for text in texts if text is not None and stored.token_to_id(text) is not None]


def _text(token: Any, where: str) -> str | None:
  """Returns the text of a token that is stored as text or as an object. None stays None."""
  text = token.get("content") if isinstance(token, dict) else token
  if token is not None and not isinstance(text, str):
    raise InputError(f"{where} is {token!r}, expected text, an object with content, or null")
  return text


def _chat_template(folder: Path, config: dict[str, Any]) -> str | dict[str, str] | None:
  """Returns the folder's chat template, or several by name. Its files take precedence over tokenizer_config.json."""
  found = {file.stem: file.read_text(encoding="utf-8") for file in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja"))}
  if (folder / TEMPLATE_FILE).is_file():
    found["default"] = (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
  stated = config.get("chat_template")
  if not found and isinstance(stated, list):  # the older form: [{"name": ..., "template": ...}]
    try:
      return {entry["name"]: entry["template"] for entry in stated}
    except (KeyError, TypeError):
      raise InputError(f"{folder / SETTINGS_FILE}: chat_template: expected entries with name and template") from None
  if not found:
    if not isinstance(stated, (str, dict, type(None))):
      raise InputError(f"{folder / SETTINGS_FILE}: chat_template is {stated!r}, expected text or a list of templates")
    return stated
  return found["default"] if found.keys() == {"default"} else found


def _check_same(file: Path, stored: Tokenizer, used: Tokenizer) -> None:
  """Raises InputError if a part of the tokenizer in use is not the one in the file."""
  for part in PARTS:
    wanted, got = getattr(stored, part), getattr(used, part)
    if (wanted and wanted.__getstate__()) != (got and got.__getstate__()):
      raise InputError(f"{file}: transformers uses another {part}, expected the file's own; see constraints.txt")
  added = [{id_: token.__getstate__() for id_, token in t.get_added_tokens_decoder().items()} for t in (stored, used)]
  if added[0] != added[1] or stored.get_vocab_size() != used.get_vocab_size():
    raise InputError(f"{file}: transformers changes its added tokens, expected the file's own; see constraints.txt")
