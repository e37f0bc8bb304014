"""Measures TRL's step on the shapes of benchmarks/gpu.py, which starts this script in a Python with torch and TRL.

    python trl_step.py '{"prompts": 32, "group": 8, ...}'

The step has the same numbers of prompts, responses, prompt tokens and response tokens. Half of each group gets the
reward, there is no KL term, and transformers generates the responses. Prints one JSON line.
"""

import json
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

SHAPE = (
  "vocab_size",
  "hidden_size",
  "intermediate_size",
  "num_hidden_layers",
  "num_attention_heads",
  "num_key_value_heads",
  "tie_word_embeddings",
)
CUDA = torch.cuda.is_available()


class Clock(TrainerCallback):
  """Records the seconds of each step."""

  def __init__(self) -> None:
    self.seconds: list[float] = []

  def on_step_begin(self, *_: Any, **__: Any) -> None:
    self.started = time.perf_counter()

  def on_step_end(self, *_: Any, **__: Any) -> None:
    if CUDA:
      torch.cuda.synchronize()
    self.seconds.append(time.perf_counter() - self.started)


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
  """Makes a tokenizer with one token per word, so that a text has as many tokens as words."""
  words = {f"w{i}": i for i in range(min(1000, vocabulary - 1))} | {"<eos>": vocabulary - 1}
  plain = Tokenizer(models.WordLevel(words, unk_token="w0"))
  plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
  return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", pad_token="<eos>", padding_side="left")


def half_right(completions: list[str], **_: Any) -> list[float]:
  return [float(i % 2) for i in range(len(completions))]


def main(sizes: dict[str, Any]) -> None:
  rng = np.random.default_rng(0)
  words = min(1000, sizes["vocab_size"] - 1)
  texts = [" ".join(f"w{i}" for i in rng.integers(0, words, sizes["prompt"])) for _ in range(sizes["prompts"])]
  responses, clock = sizes["prompts"] * sizes["group"], Clock()
  rows = min(sizes["rows"], responses)
  with tempfile.TemporaryDirectory() as out:
    trainer = GRPOTrainer(
      model=Qwen2ForCausalLM(Qwen2Config(**{name: sizes[name] for name in SHAPE})),
      reward_funcs=half_right,
      processing_class=make_tokenizer(sizes["vocab_size"]),
      train_dataset=Dataset.from_list([{"prompt": text} for text in texts * (sizes["steps"] + 1)]),
      callbacks=[clock],
      args=GRPOConfig(
        output_dir=out,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=responses // rows,
        num_generations=sizes["group"],
        max_completion_length=sizes["new_tokens"],
        generation_kwargs={"min_new_tokens": sizes["new_tokens"]},
        max_steps=sizes["steps"] + 1,
        learning_rate=1e-6,
        beta=0.0,
        temperature=1.0,
        bf16=CUDA,
        use_cpu=not CUDA,
        gradient_checkpointing=sizes["remat"] != "none",
        shuffle_dataset=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
      ),
    )
    trainer.train()
  print(json.dumps({"step_s": round(statistics.median(clock.seconds[1:]), 4), "responses": responses}))


if __name__ == "__main__":
  main(json.loads(sys.argv[1]))
