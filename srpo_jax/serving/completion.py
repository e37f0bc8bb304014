"""The body of POST /v1/completions, as OpenAI's reference has it; what this server does not do is refused by name."""

import reprlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srpo_jax.config import TEMPERATURES, is_temperature
from srpo_jax.serving.requests import SEEDS, BadRequestError, Limits

MAX_STOPS = 4
_SHORT = reprlib.Repr()  # what a client sent is told back in part where it is long
_SHORT.maxstring = 200


class StreamOptions(BaseModel):
  model_config = ConfigDict(extra="forbid", strict=True)

  include_usage: bool = False
  include_obfuscation: bool = False


class Completion(BaseModel):
  """Fields and defaults of OpenAI's API. `check` refuses values that this server does not serve."""

  model_config = ConfigDict(extra="forbid", strict=True)

  prompt: str | list[str] | list[int] | list[list[int]]
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
  # accepted at these values alone
  echo: bool | None = None
  best_of: int | None = None
  suffix: str | None = None
  presence_penalty: float | None = None
  frequency_penalty: float | None = None
  logit_bias: dict[str, float] | None = None

  @property
  def samples(self) -> int:
    return self.n or 1

  @property
  def budget(self) -> int:
    return 16 if self.max_tokens is None else self.max_tokens  # OpenAI's default

  @property
  def stops(self) -> tuple[str, ...]:
    return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

  @property
  def prompts(self) -> list[str] | list[list[int]]:
    """One entry a prompt."""
    prompt: Any = self.prompt
    if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
      return [prompt]
    return prompt

  def check(self, limits: Limits, served: str) -> None:
    """Raises BadRequestError, naming the field."""

    def expect(field: str, good: bool, expected: str, code: str | None = None) -> None:
      if not good:
        raise BadRequestError(f"{field}: {_SHORT.repr(getattr(self, field))}, expected {expected}", field, code)

    expect("model", self.model in (None, served), repr(served), "model_not_found")
    prompts = len(self.prompts)
    if not 1 <= prompts <= limits.queue:  # more could never wait together: a retry would not help
      raise BadRequestError(f"prompt: {prompts} prompts, expected 1 to {limits.queue}", "prompt")
    if self.budget > limits.max_new:
      raise BadRequestError(f"max_tokens: {_SHORT.repr(self.budget)}, expected at most {limits.max_new}", "max_tokens")
    expect("temperature", self.temperature is None or is_temperature(self.temperature), TEMPERATURES)
    expect("n", self.samples <= limits.slots, f"at most {limits.slots}, the slots of this server")
    expect("top_p", self.top_p in (None, limits.top_p), f"{limits.top_p:g}, with which this server was started")
    expect("stop", len(self.stops) <= MAX_STOPS and all(self.stops), f"at most {MAX_STOPS} strings, none empty")
    expect("logprobs", self.logprobs in (None, 0), "0, which gives those of the sampled tokens")
    expect("stream_options", self.stream_options is None or bool(self.stream), "none without stream=true")
    expect("echo", not self.echo, "false: prompts are not repeated")
    expect("best_of", self.best_of in (None, self.samples), "n: no sample is chosen by the server")
    expect("suffix", not self.suffix, "none: the policy only continues a prompt")
    for field in ("presence_penalty", "frequency_penalty", "logit_bias"):
      expect(field, not getattr(self, field), "none: tokens are drawn from the policy as it is")


def parse(body: bytes) -> Completion:
  """Raises BadRequestError naming what is wrong, the first of it where much is."""
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
    if field == "prompt" and error["type"] != "missing":
      message = "prompt: expected text, a list of texts, token ids, or a list of lists of token ids"
      raise BadRequestError(message, field) from None
    raise BadRequestError(f"{field or 'the body'}: {error['msg']}", field) from None
