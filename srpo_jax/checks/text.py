"""Checks of the tokenizer on the prompts and on the required form of responses."""

from collections.abc import Sequence
from typing import Any

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.data.encoded import Prompt
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.model.transformer import TransformerConfig

SHORTEST = ("</think><answer>1</answer>", "</think> <answer>1</answer>", " </think> <answer> 1 </answer>")
RESPONSE = " First 3 * 4 = 12. </think> <answer> \\boxed{12} </answer>"


def check_tokenizer(
  tokenizer: Any, stops: Sequence[int], model: TransformerConfig, prompts: Sequence[Prompt]
) -> list[Finding]:
  """Checks stop and padding tokens, and that prompts and responses are the same text after encoding and decoding."""
  names = ", ".join(f"{tokenizer.convert_ids_to_tokens(id_)} ({id_})" for id_ in stops)
  return [
    *([Finding(PASS, "tokens that end a response", names)] if stops else []),
    _vocabulary(tokenizer, stops, model),
    _padding(tokenizer, stops),
    _round_trip(tokenizer, prompts),
    _joint(tokenizer, prompts),
    _special_in_prompts(tokenizer, stops, prompts),
  ]


def check_turn_end(renderer: PromptRenderer, stops: Sequence[int]) -> Finding:
  """Checks that the token with which the chat template ends a turn also ends a response."""
  check, end = "end of a turn in the chat template", renderer.turn_end()
  if end is None:
    return Finding(WARN, check, "none", "name the token that ends a response: config.prompt.eos")
  name, counting = (
    renderer.tokenizer.convert_ids_to_tokens(end),
    stops if renderer.eos_id is None else [renderer.eos_id],
  )
  if end not in counting:
    listed = ", ".join(renderer.tokenizer.convert_ids_to_tokens(list(counting)))
    todo = f"set config.prompt.eos={name}, or train the policy to end with another token"
    return Finding(WARN, check, f"{name}, but a well-formed response ends with {listed}", todo)
  return Finding(PASS, check, f"{name} ends a response")


def check_room(tokenizer: Any, max_new_tokens: int) -> Finding:
  """Checks that a response in the required form, with its EOS, fits the length limit.

  Args:
    max_new_tokens: smallest length limit of all stages.
  """
  check, todo = "room for a response", "raise config.rollout.max_new_tokens, and that of each stage"
  *shortest, usual = (len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1 for text in (*SHORTEST, RESPONSE))
  if max_new_tokens < min(shortest):
    found = f"{max_new_tokens} tokens, where the tags and one digit are {min(shortest)}: every response would be cut"
    return Finding(FAIL, check, found, todo)
  found = f"{max_new_tokens} tokens; an example of one line has {usual}"
  return Finding(WARN, check, found, todo) if max_new_tokens < usual else Finding(PASS, check, found)


def _vocabulary(tokenizer: Any, stops: Sequence[int], model: TransformerConfig) -> Finding:
  check, found = "vocabulary", f"the tokenizer has {len(tokenizer)} tokens, the model {model.vocab_size}"
  beyond = [id_ for id_ in stops if id_ >= model.vocab_size]
  if beyond:
    todo = "correct eos_token_id in generation_config.json"
    return Finding(FAIL, check, f"stop token {beyond[0]} is not in the model's vocabulary; {found}", todo)
  if len(tokenizer) > model.vocab_size:
    return Finding(FAIL, check, found, "take the tokenizer that came with the weights")
  return Finding(PASS, check, found)


def _padding(tokenizer: Any, stops: Sequence[int]) -> Finding:
  check, pad = "padding token", tokenizer.pad_token_id
  if pad is None:
    return Finding(PASS, check, "none: none is needed, masks come from lengths")
  if pad in stops:
    return Finding(PASS, check, "it ends responses too: harmless here, masks come from lengths")
  return Finding(PASS, check, f"{tokenizer.convert_ids_to_tokens(pad)} ({pad})")


def _decode(tokenizer: Any, ids: Any) -> str:
  return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _round_trip(tokenizer: Any, prompts: Sequence[Prompt]) -> Finding:
  check = "prompts back from tokens"
  for prompt in prompts:
    if _decode(tokenizer, prompt.tokens) != prompt.text:
      todo = "the tokenizer drops or changes characters: use one that keeps them, or normalise the data first"
      return Finding(WARN, check, f"the prompt of {prompt.problem.id} changes", todo)
  return Finding(PASS, check, f"{len(prompts)} prompts are the same text")


def _joint(tokenizer: Any, prompts: Sequence[Prompt]) -> Finding:
  """Checks that a response's tokens, after the prompt's, decode to the response. Rewards judge the decoded text."""
  check = "the form of a response in tokens"
  response = tokenizer(RESPONSE, add_special_tokens=False)["input_ids"]
  decoded = _decode(tokenizer, response)
  if decoded.strip() != RESPONSE.strip():
    todo = "the reward looks for these tags in the decoded text: no response of this model can have them"
    return Finding(FAIL, check, f"{RESPONSE.strip()!r} comes back as {decoded.strip()!r}", todo)
  text = _decode(tokenizer, [*prompts[0].tokens, *response])
  if not text.startswith(prompts[0].text[:-1]):
    return Finding(WARN, check, "the prompt changes with a response after it", "look at its last tokens")
  return Finding(PASS, check, f"the tags come back as they are ({len(response)} tokens of an example)")


def _special_in_prompts(tokenizer: Any, stops: Sequence[int], prompts: Sequence[Prompt]) -> Finding:
  """Looks for stop tokens in questions. Text such as <|endoftext|> in one is encoded as the special token."""
  check = "special tokens in questions"
  for prompt in prompts:
    found = sorted(set(stops) & set(tokenizer(prompt.problem.question, add_special_tokens=False)["input_ids"]))
    if found:
      name = tokenizer.convert_ids_to_tokens(found[0])
      todo = "remove the text from the question (curate's normalisation does)"
      return Finding(WARN, check, f"{prompt.problem.id} has {name} in its question", todo)
  return Finding(PASS, check, "no question holds a token that ends a response")
