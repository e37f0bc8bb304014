"""The body of POST /v1/completions, after OpenAI's reference. A field that cannot be served is refused by name."""

import reprlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srpo_jax.config import TEMPERATURES, is_temperature
from srpo_jax.serving.requests import SEEDS, BadRequestError, Limits

MAX_STOPS = 4
_SHORT = reprlib.Repr()  # shortens a client's long values in error messages
_SHORT.maxstring = 200


class StreamOptions(BaseModel):
  """OpenAI's options of a stream. `include_obfuscation` is accepted and has no effect."""

  model_config = ConfigDict(extra="forbid", strict=True)

  include_usage: bool = False
  include_obfuscation: bool = False


class Completion(BaseModel):
  """Fields and defaults of OpenAI's API. `check` refuses values that this server cannot serve."""

  model_config = ConfigDict(extra="forbid", strict=True)

  prompt: str | list[str] | list[int] | list[list[int]] | None = None
  # Not OpenAI's: a question instead of a prompt. The server puts it into the prompt of its config.
  question: str | None = None
  domain: str = "math"
  model: str | None = None
  max_tokens: int | None = Field(default=None, ge=1)
  temperature: float | None = None
  top_p: float | None = Field(default=None, gt=0, le=1)
  n: int | None = Field(default=None, ge=1)
  seed: int | None = Field(default=None, ge=SEEDS.start, lt=SEEDS.stop)
  stop: str | list[str] | None = None
  stream: bool | None = None
  stream_options: StreamOptions | None = None
  logprobs: int | None = None
  user: str | None = None
  # The fields below are accepted only at values without effect.
  echo: bool | None = None
  best_of: int | None = None
  suffix: str | None = None
  presence_penalty: float | None = None
  frequency_penalty: float | None = None
  logit_bias: dict[str, float] | None = None

  @property
  def samples(self) -> int:
    """Number of samples of each prompt."""
    return self.n or 1

  @property
  def max_new_tokens(self) -> int:
    """Largest number of new tokens of each sample."""
    return 16 if self.max_tokens is None else self.max_tokens  # OpenAI's default

  @property
  def stops(self) -> tuple[str, ...]:
    """Stop strings."""
    return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

  @property
  def prompts(self) -> list[str] | list[list[int]]:
    """Returns one entry for each prompt, as text or as token ids. A question counts as one."""
    prompt: Any = self.question if self.prompt is None else self.prompt
    if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
      return [prompt]
    return prompt

  def check(self, limits: Limits, served: str) -> None:
    """Raises BadRequestError, which names the field, for a value that this server cannot serve.

    Args:
      served: name of the served model.
    """

    def expect(field: str, good: bool, expected: str, code: str | None = None) -> None:
      if not good:
        raise BadRequestError(f"{field}: {_SHORT.repr(getattr(self, field))}, expected {expected}", field, code)

    if self.prompt is None and self.question is None:
      raise BadRequestError("prompt: Field required", "prompt")
    expect("question", self.prompt is None or self.question is None, "none beside a prompt")
    expect("model", self.model in (None, served), repr(served), "model_not_found")
    prompts = len(self.prompts)
    if not 1 <= prompts <= limits.queue:  # more would never fit into the queue, so a retry would not help
      raise BadRequestError(f"prompt: {prompts} prompts, expected 1 to {limits.queue}", "prompt")
    if self.max_new_tokens > limits.max_new:
      found = _SHORT.repr(self.max_new_tokens)
      raise BadRequestError(f"max_tokens: {found}, expected at most {limits.max_new}", "max_tokens")
    expect("temperature", self.temperature is None or is_temperature(self.temperature), TEMPERATURES)
    expect("n", self.samples <= limits.slots, f"at most {limits.slots}, the number of slots of this server")
    expect("top_p", self.top_p in (None, limits.top_p), f"{limits.top_p:g}, the value this server was started with")
    expect("stop", len(self.stops) <= MAX_STOPS and all(self.stops), f"at most {MAX_STOPS} strings, none empty")
    expect("logprobs", self.logprobs in (None, 0), "0, which returns only the log-probabilities of the sampled tokens")
    expect("stream_options", self.stream_options is None or bool(self.stream), "stream=true with it")
    expect("echo", not self.echo, "false, since this server does not repeat the prompt")
    expect("best_of", self.best_of in (None, self.samples), "the value of n, since this server returns all samples")
    expect("suffix", not self.suffix, "none, since the policy can only continue a prompt")
    for field in ("presence_penalty", "frequency_penalty", "logit_bias"):
      expect(field, not getattr(self, field), "none, since tokens are drawn from the unmodified policy")


def parse(body: bytes) -> Completion:
  """Parses a request body. Raises BadRequestError, which names the first fault found."""
  try:
    return Completion.model_validate_json(body)
  except ValidationError as failed:
    error = failed.errors(include_url=False)[0]
    field = str(error["loc"][0]) if error["loc"] else None
    if error["type"] == "json_invalid":
      raise BadRequestError(f"the body is not JSON: {error['ctx']['error']}") from None
    if error["type"] == "extra_forbidden":
      where = ".".join(map(str, error["loc"]))
      raise BadRequestError(f"{where}: unknown field", field, "unknown_field") from None
    if field == "prompt":
      message = "prompt: expected text, a list of texts, token ids, or a list of lists of token ids"
      raise BadRequestError(message, field) from None
    raise BadRequestError(f"{field or 'the body'}: {error['msg']}", field) from None
