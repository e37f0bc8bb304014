"""Makes scored groups from prompts, with sampling and scoring overlapped."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from srpo_jax.algorithm.history import Outcome, outcome
from srpo_jax.data.encoded import Prompt
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.model.transformer import Params
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.types import Rollout, ScoreRequest, Verdict
from srpo_jax.utils import processes
from srpo_jax.utils.errors import TrainingError
from srpo_jax.utils.preemption import PreemptionSignal
from srpo_jax.utils.progress import late_bar
from srpo_jax.utils.text import storable


@dataclasses.dataclass(frozen=True)
class Group:
  """A prompt with its responses, ordered by sample number."""

  prompt: Prompt
  rollouts: tuple[Rollout, ...]
  texts: tuple[str, ...]
  verdicts: tuple[Verdict, ...]

  def outcome(self) -> Outcome:
    return outcome(
      [v.correct for v in self.verdicts], [r.truncated for r in self.rollouts], [v.reward for v in self.verdicts]
    )


@dataclasses.dataclass(frozen=True)
class RolloutSampler:
  """Samples responses to prompts and scores them.

  Attributes:
    show: True to draw progress bars if sampling or judging takes long.
    signal: preemption signal, checked between decode calls. None: signals are not checked.
  """

  engine: InProcessEngine
  scorer: Scorer
  tokenizer: Any
  stop_tokens: tuple[int, ...]
  prompt_bucket: int
  seed: int
  show: bool = False
  signal: PreemptionSignal | None = None

  def collect(
    self,
    params: Params,
    prompts: Sequence[Prompt],
    *,
    step: int,
    purpose: Purpose,
    samples: int,
    temperature: float,
    max_new_tokens: int,
  ) -> tuple[list[Group], dict[str, float]]:
    """Samples and judges `samples` responses to each prompt.

    Responses are scored while others are still being generated. Each process scores its share of the responses, and
    every process gets all verdicts.

    Returns:
      the groups in the order of `prompts`, and the seconds spent sampling and then waiting for verdicts.

    Raises:
      TrainingError: the policy's log-probabilities are not finite.
      PreemptedError: a signal told the run to end.
    """
    started = time.perf_counter()
    by_id = {prompt.problem.id: prompt for prompt in prompts}
    requests = [
      GroupRequest(
        prompt_id=id_,
        tokens=prompt.tokens,
        samples=samples,
        key=prompt_key(self.seed, purpose, step, id_),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
      )
      for id_, prompt in by_id.items()
    ]
    sampled = self._sample(params, requests, by_id, step)
    generated = time.perf_counter()
    verdicts = self._verdicts(len(sampled))
    groups = []
    for id_, prompt in by_id.items():
      rollouts, texts = zip(*(sampled[id_, i] for i in range(samples)), strict=True)
      groups.append(Group(prompt, rollouts, texts, tuple(verdicts[f"{id_}/{i}"] for i in range(samples))))
    return groups, {"rollout_s": generated - started, "score_s": time.perf_counter() - generated}

  def _sample(
    self, params: Params, requests: Sequence[GroupRequest], prompts: Mapping[str, Prompt], step: int
  ) -> dict[tuple[str, int], tuple[Rollout, str]]:
    """Samples all responses and submits this process's share to the scorer.

    Returns:
      (prompt id, sample) -> the response and its text.
    """
    places = [(request.prompt_id, i) for request in requests for i in range(request.samples)]
    number = {place: n for n, place in enumerate(places)}
    sampled: dict[tuple[str, int], tuple[Rollout, str]] = {}
    stream = sample_groups(
      self.engine,
      params,
      requests,
      stop_tokens=self.stop_tokens,
      prompt_bucket=self.prompt_bucket,
      between=self.signal.check if self.signal else None,
    )
    bar = late_bar("sampling", len(number), shown=self.show)
    for rollout in stream:
      bar.update()
      if not np.isfinite(rollout.logprobs).all():
        raise TrainingError(f"step {step}: the policy's log-probabilities are not finite: it diverged or is damaged")
      place = rollout.prompt_id, rollout.sample
      sampled[place] = rollout, text_of(rollout, self.tokenizer)
      if number[place] % processes.count() == processes.index():
        self.scorer.submit(request_of(prompts[rollout.prompt_id], *sampled[place]))
    bar.close()
    return sampled

  def _verdicts(self, n: int) -> dict[str, Verdict]:
    """Returns the verdicts of all `n` responses, each from the process that scored it."""

    def collect() -> dict[str, Verdict]:
      with late_bar("judging", -(-n // processes.count()), shown=self.show) as bar:

        def waiting(judged: int) -> None:
          bar.update(judged - bar.n)
          if self.signal is not None:
            self.signal.raise_if_told()

        verdicts = self.scorer.collect(waiting)
      if self.signal is not None:
        self.signal.raise_if_told()  # the signal may have ended the workers too, so the verdicts are not valid
      return verdicts

    parts = processes.all_gather(processes.agreed(collect))
    return {id_: verdict for part in parts for id_, verdict in part.items()}


def text_of(rollout: Rollout, tokenizer: Any) -> str:
  """Returns a response's text, without the EOS, as the judges and the files get it."""
  tokens = rollout.tokens if rollout.truncated else rollout.tokens[:-1]
  text = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
  return storable(text)


def request_of(prompt: Prompt, rollout: Rollout, text: str) -> ScoreRequest:
  """Returns the rewards' input for a response."""
  problem, ended = prompt.problem, not rollout.truncated
  return ScoreRequest(
    id=f"{problem.id}/{rollout.sample}",
    prompt=prompt.text,
    response=text,
    ended=ended,
    domain=problem.domain,
    answer=problem.answer,
    tests=problem.tests,
    problem=problem,
    asked=prompt.asked,
    think_opened=prompt.think_opened,
    well_ended=not ended or prompt.eos in (None, rollout.tokens[-1]),
  )


def response_rows(group: Group) -> Iterator[dict[str, Any]]:
  """Yields a row for each response of a group, with the fields of workdir.RESPONSE_FIELDS."""
  for rollout, text, verdict in zip(group.rollouts, group.texts, group.verdicts, strict=True):
    yield {
      "sample": rollout.sample,
      "prompt": group.prompt.text,
      "response": text,
      "token_ids": rollout.tokens,
      "sampler_logprobs": rollout.logprobs,
      "n_tokens": len(rollout.tokens),
      "truncated": rollout.truncated,
      "format": verdict.format,
      "correct": verdict.correct,
      "pass_fraction": verdict.pass_fraction,
      "reason": verdict.reason,
      "language_mix": verdict.language_mix,
      "reward": None if verdict.correct is None else verdict.reward,
    }


def by_domain(groups: Sequence[Group]) -> dict[str, list[Group]]:
  """Returns domain -> its groups, in their order."""
  domains: dict[str, list[Group]] = {}
  for group in groups:
    domains.setdefault(group.prompt.problem.domain, []).append(group)
  return domains


def rewards_of(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns (rewards, judged, truncated), each [prompt, sample]."""
  rewards = np.array([[v.reward for v in g.verdicts] for g in groups], np.float64)
  judged = np.array([[v.correct is not None for v in g.verdicts] for g in groups])
  truncated = np.array([[r.truncated for r in g.rollouts] for g in groups])
  return rewards, judged, truncated
