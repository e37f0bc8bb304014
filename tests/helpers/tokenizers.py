"""Folders with small trained tokenizers, split as published models split text."""

import functools
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.helpers.paths import ROOT

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _by_words(numbers: str) -> pre_tokenizers.PreTokenizer:
  split = pre_tokenizers.Split(Regex(_WORDS % numbers), "isolated")
  return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


SPLITTERS = {
  "qwen2": _by_words(r"\p{N}"),
  "llama3": _by_words(r"\p{N}{1,3}"),
  # As in SmolLM2: digits one by one, then GPT-2's own pattern.
  "digits": pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
  ),
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
TEXTS = (
  "",
  " ",
  "Ann has 12 apples and buys 3456789 more.",
  "def add_two(values):\n    return [v + 2 for v in values]\n\n\n\tprint(add_two([1, 22, 333]))\r\n",
  "  leading,   inner and trailing blanks   \n \n",
  "It's I'LL we've DON'T 'S",
  "naïve café e\u0301clair Ünïcödé ﬁ ½ ² Ⅷ ٣٤٥ १२३",
  "日本語のテキスト、한국어 문장。中文句子！",
  "🙂👩‍👩‍👧‍👦 emoji \u200d zero\u200bwidth \u00a0nbsp",
  "$x^2 + \\frac{1}{2} = 10^{23}$ \\boxed{3.14159}",
  "<|im_start|>user\nhello<|im_end|>\n<|endoftext|> <|im_start|> |<|pad|>|",
  "<think> 1+1 </think> <answer>2</answer>",
  "\x00\x01 control \x7f",
)


@functools.cache
def _trained(splitter: str) -> str:
  tokenizer = Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = SPLITTERS[splitter]
  corpus = [file.read_text() for file in sorted((ROOT / "srpo_jax" / "data").glob("*.py"))]
  numbers = [" ".join(str(n * n) for n in range(0, 3000, 7))]
  alphabet = pre_tokenizers.ByteLevel.alphabet()
  trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
  tokenizer.train_from_iterator([*corpus, *numbers, *TEXTS], trainer)
  return tokenizer.to_str()


def build(splitter: str) -> Tokenizer:
  """Returns a tokenizer with a vocabulary of its own, trained on this package's sources."""
  tokenizer = Tokenizer.from_str(_trained(splitter))
  tokenizer.normalizer = normalizers.NFC()
  tokenizer.decoder = decoders.ByteLevel()
  tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
  tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
  return tokenizer


def write_folder(
  folder: Path, model_type: str, tokenizer: Tokenizer, config: dict | None = None, files: dict[str, str] | None = None
) -> Path:
  """Writes a folder's config.json, tokenizer.json and tokenizer_config.json, and other files by name."""
  names = {"tokenizer_class": {"llama": "PreTrainedTokenizerFast"}.get(model_type, "Qwen2Tokenizer")}
  names |= {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": None, "model_max_length": 4096}
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer.save(str(folder / "tokenizer.json"))
  (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
  (folder / "tokenizer_config.json").write_text(json.dumps(names if config is None else names | config))
  for name, text in (files or {}).items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
  return folder
