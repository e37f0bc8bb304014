"""A tokenizer for the tiny demo: a byte-level BPE in Hugging Face form, as small as its task allows.

Any UTF-8 text round-trips, for the 256 bytes are tokens. The fixed text of the SRPO template and the phrases of the
toy tasks are one token each. They are added tokens, which are cut out before BPE sees the text, and not merges:
transformers splits the text of any model of type qwen2 with Qwen's own pattern, whatever tokenizer.json says, and no
merge can cross the words that it makes. So no token straddles a piece's edge either, and what is sampled after
`<think>` is tokenized as the encoder would.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from srpo_jax.data import prompts
from srpo_jax.data.toy import arithmetic_traces, programs, wording

EOS = "<|endoftext|>"  # as in the Qwen2.5 base models
PAD = "<|pad|>"

# As in the Qwen2.5 tokenizer, so that a folder with and one without a config.json of type qwen2 give the same ids.
_QWEN2_PATTERN = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Merges for everyday English, "_" for a space: the pairs that BPE training finds first in grade-school word problems.
# They shorten such prompts by a third, and fill the vocabulary up to 384; the toy tasks need none of them.
_ENGLISH_MERGES = """
  _|t h|e _|a i|n e|s a|n _|s _|o _|m _t|he e|r _|c r|e _|h _|p _|w _|b _|f _o|f _|d _t|o i|s a|r o|n o|w l|l a|s a|t
  e|n o|r c|h o|u e|d in|g _|H a|l _|e _|in t|s a|y _|g _|he an|y i|t _|l _m|any _t|h i|c _f|or _|n _|$ _c|o _H|ow e|t
  _|is i|d i|r a|ch v|e i|l an|d
"""


def build_tokenizer(directory: str | Path) -> Path:
  """Writes tokenizer.json and tokenizer_config.json into a directory, the same bytes every time.

  `transformers.AutoTokenizer.from_pretrained` loads the result. Every digit is a token of its own. EOS and PAD are
  different ids, the last two of the vocabulary.

  Returns:
    The directory, made if it was not there.
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
  """The phrases that are one token each, wherever they stand."""
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
  # A number word must not be cut out of a longer one: "one" stays inside "money".
  tokenizer.add_tokens([AddedToken(piece, normalized=False, single_word=piece.isalpha()) for piece in pieces()])
  tokenizer.add_special_tokens([EOS, PAD])
  return tokenizer


def _english_merges() -> list[tuple[str, str]]:
  # Byte-level BPE spells a space as this letter, and the other ASCII characters used here as themselves.
  left_right = (entry.replace("_", "\u0120").split("|") for entry in _ENGLISH_MERGES.split())
  return [(left, right) for left, right in left_right]
