"""A tokenizer for the tiny demo: a byte-level BPE in Hugging Face form, as small as the toy tasks allow.

Any UTF-8 text round-trips because each of the 256 bytes is a token. The fixed text of the SRPO template and the phrases
of the toy tasks are one token each. They are added tokens, which are cut out before BPE sees the text. So no token
crosses the edge of a phrase, and the tokens sampled after `<think>` are the tokens that the encoder gives for the same
text.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from srpo_jax.data import prompts
from srpo_jax.data.toy import arithmetic_traces, programs, wording

EOS = "<|endoftext|>"  # as in the Qwen2.5 base models
PAD = "<|pad|>"

# Pattern of the Qwen2.5 tokenizer. transformers' AutoTokenizer gives it to every folder of type qwen2, so an exported
# policy gets the same ids there.
_QWEN2_PATTERN = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Merges for everyday English, with "_" for a space. They are the first pairs that BPE training finds in grade-school
# word problems. They shorten such prompts by a third and fill the vocabulary up to 384. The toy tasks do not need them.
_ENGLISH_MERGES = """
  _|t h|e _|a i|n e|s a|n _|s _|o _|m _t|he e|r _|c r|e _|h _|p _|w _|b _|f _o|f _|d _t|o i|s a|r o|n o|w l|l a|s a|t
  e|n o|r c|h o|u e|d in|g _|H a|l _|e _|in t|s a|y _|g _|he an|y i|t _|l _m|any _t|h i|c _f|or _|n _|$ _c|o _H|ow e|t
  _|is i|d i|r a|ch v|e i|l an|d
"""


def build_tokenizer(directory: str | Path) -> Path:
  """Writes tokenizer.json and tokenizer_config.json into a directory. The bytes are the same every time.

  Every digit is one token. EOS and PAD have different
  ids, which are the last two of the vocabulary.

  Returns:
    The directory, which is created if it does not exist.
  """
  directory = Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  (directory / "tokenizer.json").write_text(_tokenizer().to_str(pretty=True), encoding="utf-8")
  config = {
    "add_prefix_space": False,
    "bos_token": None,
    "clean_up_tokenization_spaces": False,
    "eos_token": EOS,
    "model_max_length": 32768,
    "pad_token": PAD,
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": None,
  }
  (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
  return directory


def pieces() -> tuple[str, ...]:
  """Returns the phrases that are one token each, wherever they occur."""
  before, between, after = prompts.template_parts()
  template = (before, *(text + between for text in prompts.DEFAULT_INSTRUCTIONS.values()), after)
  task = (
    *arithmetic_traces.TRACE_PIECES,
    *wording.QUESTION_PIECES,
    *wording.NUMBER_WORDS,
    *programs.PIECES,
  )
  return (*template, *task)


def _tokenizer() -> Tokenizer:
  merges = _english_merges()
  words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
  tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
  split = pre_tokenizers.Split(Regex(_QWEN2_PATTERN), "isolated")
  byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
  tokenizer.decoder = decoders.ByteLevel()
  # A number word must not be cut out of a longer word: "one" stays inside "money".
  tokenizer.add_tokens([AddedToken(piece, normalized=False, single_word=piece.isalpha()) for piece in pieces()])
  tokenizer.add_special_tokens([EOS, PAD])
  return tokenizer


def _english_merges() -> list[tuple[str, str]]:
  # Byte-level BPE writes a space as this letter and the other ASCII characters used here unchanged.
  left_right = (entry.replace("_", "\u0120").split("|") for entry in _ENGLISH_MERGES.split())
  return [(left, right) for left, right in left_right]
