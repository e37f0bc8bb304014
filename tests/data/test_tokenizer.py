"""Tokenizers of Hugging Face folders, against tokenizer.json as the library `tokenizers` reads it."""

import json

import pytest
import transformers
from tokenizers import AddedToken, Tokenizer, processors

from srpo_jax.data.encoded import load_tokenizer, stop_tokens
from srpo_jax.serving.text import TextStream, token_bytes
from srpo_jax.utils.errors import InputError
from tests.helpers.tokenizers import SPECIAL, TEXTS, build, write_folder

FOLDERS = [(kind, splitter) for kind in ("qwen2", "qwen3", "llama") for splitter in ("qwen2", "llama3", "digits")]


def same_as_the_file(folder, texts=TEXTS):
  """Asserts that every text gets the ids that tokenizer.json gives it. Returns our tokenizer."""
  ours, stored = load_tokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
  for text in texts:
    assert ours(text, add_special_tokens=False)["input_ids"] == stored.encode(text, add_special_tokens=False).ids, text
  for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
    assert str(getattr(ours.backend_tokenizer, part)) == str(getattr(stored, part))
  assert ours.get_vocab() == stored.get_vocab() and len(ours) == stored.get_vocab_size()
  return ours


@pytest.mark.parametrize(("model_type", "splitter"), FOLDERS)
def test_ids_are_those_of_tokenizer_json(model_type, splitter, tmp_path):
  folder = write_folder(tmp_path, model_type, build(splitter))
  tokenizer = same_as_the_file(folder)
  pieces = token_bytes(tokenizer, len(tokenizer))
  for text in TEXTS:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == TextStream(pieces).push(ids, last=True)
  assert tokenizer.eos_token == "<|im_end|>" and tokenizer.bos_token is None and tokenizer.model_max_length == 4096
  assert tokenizer.all_special_tokens == ["<|im_end|>", "<|pad|>"] and tokenizer.name_or_path == str(folder)


def test_qwen2s_own_pre_tokenizer_agrees_with_transformers(tmp_path):
  """On a folder that needs no swap, AutoTokenizer is a second oracle, also for the names and the chat template."""
  turn = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
  template = "{% for m in messages %}" + turn + "{% endfor %}{{ eos_token }}"
  config = {"chat_template": template, "additional_special_tokens": ["<|im_start|>"], "unk_token": "<|endoftext|>"}
  folder = write_folder(tmp_path, "qwen2", build("qwen2"), config)
  ours, theirs = same_as_the_file(folder), transformers.AutoTokenizer.from_pretrained(folder)
  for text in TEXTS:
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
  for name in ("special_tokens_map", "all_special_ids", "eos_token_id", "pad_token_id", "unk_token_id", "bos_token_id",
               "model_max_length", "clean_up_tokenization_spaces", "padding_side", "chat_template"):  # fmt: skip
    assert getattr(ours, name) == getattr(theirs, name), name
  messages = [{"role": "user", "content": "1 + 1?"}]
  rendered = ours.apply_chat_template(messages, tokenize=False)
  assert rendered == theirs.apply_chat_template(messages, tokenize=False)
  assert rendered == "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_end|>"


def test_flags_of_added_tokens_come_from_tokenizer_json(tmp_path):
  """tokenizer_config.json says otherwise: blanks around the tokens would vanish, and <think> would be a token."""
  tokenizer = build("digits")
  ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
  flags = {"lstrip": True, "rstrip": True, "normalized": True, "single_word": True, "special": False}
  decoder = {str(id_): {"content": token, **flags} for token, id_ in ids.items()}
  decoder |= {"5000": {"content": "<think>", **flags}, "40": {"content": "he", **flags}}
  eos = {"__type": "AddedToken", "content": "<|im_end|>", **flags}
  folder = write_folder(tmp_path, "qwen2", tokenizer, {"added_tokens_decoder": decoder, "eos_token": eos})
  ours = same_as_the_file(folder)
  assert (ours.eos_token, ours.eos_token_id) == ("<|im_end|>", ids["<|im_end|>"])


def test_a_special_token_that_is_an_ordinary_one_stays_so(tmp_path):
  """An EOS in the vocabulary that tokenizer.json does not list as added: naming it must not cut it out of texts."""
  tokenizer = build("digits")
  word = max((token for token in tokenizer.get_vocab() if token.isascii() and token.isalpha()), key=len)
  assert len(word) > 3
  folder = write_folder(tmp_path, "llama", tokenizer, {"eos_token": word})
  ours = same_as_the_file(folder, [*TEXTS, f"the{word}here"])
  assert ours.eos_token_id == ours.get_vocab()[word]


def test_names_without_a_pad_token_or_in_older_files(tmp_path):
  folder = write_folder(tmp_path / "a", "qwen2", build("qwen2"), {"pad_token": None})
  assert same_as_the_file(folder).pad_token_id is None
  folder = write_folder(tmp_path / "b", "llama", build("llama3"), {"pad_token": "[PAD]", "eos_token": None})
  assert same_as_the_file(folder).pad_token is None
  with pytest.raises(InputError, match="no EOS token"):
    stop_tokens(folder, load_tokenizer(folder))
  (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 2]}))
  assert stop_tokens(folder, load_tokenizer(folder)) == (2, 3)
  # From before added_tokens_decoder: special_tokens_map.json takes precedence, as in transformers.
  older = {"special_tokens_map.json": json.dumps({"eos_token": {"content": "<|endoftext|>", "lstrip": True}})}
  folder = write_folder(tmp_path / "c", "llama", build("llama3"), files=older)
  assert same_as_the_file(folder).eos_token == "<|endoftext|>"
  assert transformers.AutoTokenizer.from_pretrained(folder).eos_token == "<|endoftext|>"
  (folder / "tokenizer_config.json").unlink()
  assert same_as_the_file(folder).eos_token == "<|endoftext|>"


def test_no_processor_truncation_or_padding_is_added(tmp_path):
  """A BOS of the post-processor is not part of a prompt, and a prompt is neither cut nor filled up."""
  tokenizer = build("llama3")
  tokenizer.post_processor = processors.TemplateProcessing(
    single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.token_to_id("<|im_start|>"))]
  )
  folder = write_folder(tmp_path / "a", "llama", tokenizer, {"bos_token": "<|im_start|>", "add_bos_token": True})
  ours = same_as_the_file(folder)
  assert ours("one")["input_ids"] == [ours.bos_token_id, *ours("one", add_special_tokens=False)["input_ids"]]
  tokenizer.post_processor = None
  folder = write_folder(tmp_path / "b", "qwen2", tokenizer, {"add_eos_token": True})
  assert same_as_the_file(folder).backend_tokenizer.post_processor is None
  text = TEXTS[3]
  whole = tokenizer.encode(text, add_special_tokens=False).ids
  tokenizer.enable_truncation(4)
  tokenizer.enable_padding(length=500)
  folder = write_folder(tmp_path / "c", "qwen2", tokenizer)
  assert load_tokenizer(folder)(text, add_special_tokens=False)["input_ids"] == whole
  assert load_tokenizer(folder).backend_tokenizer.encode(text, add_special_tokens=False).ids == whole


def test_chat_templates_come_from_every_place(tmp_path):
  listed = [{"name": "default", "template": "D"}, {"name": "tools", "template": "T"}]
  cases = {
    "none": ({}, {}, None),
    "config": ({"chat_template": "C"}, {}, "C"),
    "list": ({"chat_template": listed}, {}, {"default": "D", "tools": "T"}),
    "file": ({"chat_template": "C"}, {"chat_template.jinja": "F"}, "F"),
    "more": (
      {},
      {"chat_template.jinja": "F", "additional_chat_templates/rag.jinja": "R"},
      {"default": "F", "rag": "R"},
    ),
  }
  for name, (config, files, wanted) in cases.items():
    folder = write_folder(tmp_path / name, "qwen2", build("qwen2"), config, files)
    assert load_tokenizer(folder).chat_template == wanted, name
    assert transformers.AutoTokenizer.from_pretrained(folder).chat_template == wanted, name


@pytest.mark.parametrize(
  ("config", "words"),
  [
    ({"eos_token": "<gone>"}, r"tokenizer_config\.json: eos_token is '<gone>', expected a token of tokenizer\.json"),
    ({"eos_token": 3}, r"tokenizer_config\.json: eos_token is 3, expected text"),
    ({"chat_template": [{"name": "x"}]}, r"chat_template: expected entries with name and template"),
    ({"chat_template": 1}, r"chat_template is 1, expected text or a list"),
    ({"extra_special_tokens": "x"}, r"extra_special_tokens is 'x', expected a list"),
  ],
)
def test_bad_settings_are_named(config, words, tmp_path):
  folder = write_folder(tmp_path, "qwen2", build("qwen2"), config)
  with pytest.raises(InputError, match=words):
    load_tokenizer(folder)


def test_a_broken_or_older_folder_is_refused(tmp_path):
  folder = write_folder(tmp_path, "qwen2", build("qwen2"))
  (folder / "tokenizer_config.json").write_text("[]")
  with pytest.raises(InputError, match=r"tokenizer_config\.json: expected a JSON object"):
    load_tokenizer(folder)
  (folder / "tokenizer.json").write_text('{"version": "1.0"}')
  with pytest.raises(InputError, match="the tokenizer cannot be loaded"):
    load_tokenizer(folder)
  vocabulary = json.loads(build("qwen2").to_str())["model"]
  (folder / "tokenizer.json").unlink()
  (folder / "vocab.json").write_text(json.dumps(vocabulary["vocab"]))
  (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in vocabulary["merges"]))
  with pytest.raises(InputError, match=r"no tokenizer\.json, expected the tokenizer of a Hugging Face folder"):
    load_tokenizer(folder)


def test_another_class_of_added_token_survives(tmp_path):
  """Added tokens that are not special, such as Qwen3's <think>, keep their flags."""
  tokenizer = build("qwen2")
  tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken(" two", lstrip=True, normalized=True)])
  folder = write_folder(tmp_path, "qwen3", tokenizer)
  ours = same_as_the_file(folder, [*TEXTS, "one two  two", "x<think>y"])
  flags = {token.content: token.__getstate__() for token in ours.backend_tokenizer.get_added_tokens_decoder().values()}
  assert not flags["<think>"]["special"] and flags[" two"]["lstrip"]


@pytest.mark.parametrize(("name", "field"), [("mbpp", "code"), ("gsm8k_test", "question")])
def test_real_texts_on_a_folder_like_smollm2s(name, field, data_dir, tmp_path):
  rows = [json.loads(line) for line in (data_dir / f"{name}.jsonl").read_text().splitlines()]
  texts = [row[field] for row in rows]
  assert len(texts) > 300
  same_as_the_file(write_folder(tmp_path, "qwen2", build("digits")), texts)
