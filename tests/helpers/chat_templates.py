"""Chat templates that behave like those of published models, and a tokenizer that uses one.

They were written for these tests. Each has the traits of its model that matter to a prompt.
"""

from pathlib import Path

import transformers
from tokenizers import AddedToken, processors

from srpo_jax.data.toy.tokenizer import build_tokenizer

# Qwen2.5: a system message of its own if none is given.
QWEN25 = """
{%- if messages[0].role != 'system' %}<|im_start|>system
You are Qwen.<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# Qwen3: the thinking of earlier turns is dropped, and the generation prompt leaves <think> to the model.
QWEN3 = """
{%- for message in messages %}
{%- set said = message.content.split('</think>')[-1].lstrip() if message.role == 'assistant' else message.content -%}
<|im_start|>{{ message.role }}
{{ said }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}
{%- endif %}"""

# Qwen3-Thinking, DeepSeek-R1: the generation prompt opens <think>.
THINKING = QWEN25.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")

# Llama 3: the BOS is text, contents are stripped, and 3.2 prints the date.
LLAMA3 = """{{ bos_token }}
{%- for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{% if message.role == 'system' %}Today Date: {{ strftime_now('%d %b %Y') }}

{% endif %}{{ message.content | trim }}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

SMOLLM2 = QWEN25.replace("You are Qwen.", "You are SmolLM.")
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}" + QWEN25
DEAF = QWEN25.replace("{{ message.content }}", "{{ message.content if message.role != 'system' else 'Rules.' }}")

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def chat_folder(folder: Path, template: str | None = QWEN25, *, bos: bool = False, eos: str | None = None) -> Path:
  """Writes the tiny tokenizer with special tokens of chats, and with a chat template, into a folder.

  Args:
    bos: True if the post-processor puts <|begin_of_text|> in front of every text, as Llama 3's does.
    eos: the tokenizer's EOS. None: the tiny tokenizer's.
  """
  tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(str(build_tokenizer(folder)))
  tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(t, special=True) for t in SPECIAL]})
  tokenizer.bos_token = "<|begin_of_text|>"
  if bos:
    start = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
      single=f"{start[0]} $A", pair=f"{start[0]} $A {start[0]} $B", special_tokens=[start]
    )
  if eos:
    tokenizer.eos_token = eos
  tokenizer.chat_template = template
  tokenizer.save_pretrained(folder)
  return folder
