"""Writes the 5 M-parameter workload of `make bench`: a random Qwen2, a 4,096-token BPE, real questions.

python benchmarks/workload.py --out DIR [--questions gsm8k_train.jsonl]
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parent.parent))

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.model import hf, hf_export, transformer
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.jsonl import json_rows

SHAPE = {
  "vocab_size": 4096,
  "hidden_size": 256,
  "intermediate_size": 704,
  "num_hidden_layers": 4,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "tie_word_embeddings": False,
  "rope_theta": 1e6,
  "rms_norm_eps": 1e-6,
}


def main(args: Sequence[str]) -> None:
  data = Path(os.environ.get("SRPO_DATA", Path(__file__).parent.parent / ".." / "shared" / "data"))
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--out", required=True, type=Path, help="output folder for model/ and prompts.jsonl")
  parser.add_argument("--questions", type=Path, default=data / "gsm8k_train.jsonl", help="file with a question column")
  options = parser.parse_args(args)
  if not options.questions.is_file():
    raise InputError(f"{options.questions}: no such file, expected JSON Lines with a question column (set SRPO_DATA)")
  questions = [row["question"] for _, row in json_rows(options.questions)]
  folder = options.out / "model"
  folder.mkdir(parents=True, exist_ok=True)

  tokenizer = Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=int(SHAPE["vocab_size"]),
    special_tokens=["<|endoftext|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  tokenizer.train_from_iterator(questions, trainer)
  tokenizer.save(str(folder / "tokenizer.json"))
  names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
  (folder / "tokenizer_config.json").write_text(json.dumps(names))
  config = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "dtype": "float32", "hidden_act": "silu"}
  (folder / "config.json").write_text(json.dumps(config | SHAPE))
  shape = hf.read_config(folder)
  hf_export.write_params(transformer.init_params(shape, jax.random.key(0)), shape, folder)
  with (options.out / "prompts.jsonl").open("w") as out:
    out.writelines(json.dumps({"prompt": question}) + "\n" for question in questions[:256])


if __name__ == "__main__":
  run_cli(main)
