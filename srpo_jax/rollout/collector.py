"""Prompts become scored groups: sampling and scoring, overlapped."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from srpo_jax.algorithm.history import Outcome, outcome
from srpo_jax.data.encoded import Prompt
from srpo_jax.model.qwen2 import Params
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.types import Rollout, ScoreRequest, Verdict
from srpo_jax.utils import processes
from srpo_jax.utils.errors import TrainingError
from srpo_jax.utils.preemption import Notice
from srpo_jax.utils.progress import late_bar


@dataclasses.dataclass(frozen=True)
class Group:
  """One prompt with its responses, in the order of their sample numbers."""

  prompt: Prompt
  rollouts: tuple[Rollout, ...]
  texts: tuple[str, ...]
  verdicts: tuple[Verdict, ...]

  def outcome(self) -> Outcome:
    return outcome(
      [v.correct for v in self.verdicts], [r.truncated for r in self.rollouts], [v.reward for v in self.verdicts]
    )


@dataclasses.dataclass(frozen=True)
class Collector:
  """The sampler and the rewards that turn prompts into groups."""

  engine: InProcessEngine
  scorer: Scorer
  tokenizer: Any
  stop_tokens: tuple[int, ...]
  prompt_bucket: int
  seed: int
  show: bool = False  # progress bars while sampling and judging take long
  notice: Notice | None = None  # of preemption, looked at between decode calls

  def collect(
    self,
    params: Params,
    prompts: Sequence[Prompt],
    *,
    step: int,
    purpose: Purpose,
    samples: int,
    temperature: float,
    budget: int,
  ) -> tuple[list[Group], dict[str, float]]:
    """Groups in the order of `prompts`, and the seconds spent sampling and then waiting for verdicts.

    A response is scored while others are still being generated. In a group of processes each scores its share, and all
    get all verdicts.

    Raises:
      TrainingError: the policy gives no finite log-probabilities.
      PreemptedError: the run was told to end meanwhile.
    """
    started = time.perf_counter()
    by_id = {prompt.problem.id: prompt for prompt in prompts}
    requests = [
      GroupRequest(
        prompt_id=id_,
        tokens=prompt.tokens,
        samples=samples,
        key=prompt_key(self.seed, purpose, step, id_),
        budget=budget,
        temperature=temperature,
      )
      for id_, prompt in by_id.items()
    ]
    sampled: dict[tuple[str, int], tuple[Rollout, str]] = {}
    place = {(id_, i): p * samples + i for p, id_ in enumerate(by_id) for i in range(samples)}
    stream = sample_groups(
      self.engine,
      params,
      requests,
      stop_tokens=self.stop_tokens,
      prompt_bucket=self.prompt_bucket,
      between=self.notice.check if self.notice else None,
    )
    bar = late_bar("sampling", len(requests) * samples, shown=self.show)
    for rollout in stream:
      bar.update()
      if not np.isfinite(rollout.logprobs).all():
        raise TrainingError(f"step {step}: the policy's log-probabilities are not finite: it diverged or is damaged")
      text = text_of(rollout, self.tokenizer)
      sampled[rollout.prompt_id, rollout.sample] = rollout, text
      if place[rollout.prompt_id, rollout.sample] % processes.count() != processes.index():
        continue
      self.scorer.submit(request_of(by_id[rollout.prompt_id], rollout, text))
    bar.close()
    generated = time.perf_counter()
    verdicts = self._verdicts(len(sampled))
    groups = [
      Group(
        prompt,
        tuple(sampled[id_, i][0] for i in range(samples)),
        tuple(sampled[id_, i][1] for i in range(samples)),
        tuple(verdicts[f"{id_}/{i}"] for i in range(samples)),
      )
      for id_, prompt in by_id.items()
    ]
    return groups, {"rollout_s": generated - started, "score_s": time.perf_counter() - generated}

  def _verdicts(self, n: int) -> dict[str, Verdict]:
    """Of all `n` responses, by the processes that they were given to."""

    def collect() -> dict[str, Verdict]:
      with late_bar("judging", -(-n // processes.count()), shown=self.show) as bar:

        def waiting(judged: int) -> None:
          bar.update(judged - bar.n)
          if self.notice is not None:
            self.notice.raise_if_told()

        verdicts = self.scorer.collect(waiting)
      if self.notice is not None:
        self.notice.raise_if_told()  # a signal to the whole process group ends the workers too: not a verdict
      return verdicts

    parts = processes.all_gather(processes.agreed(collect))
    return {id_: verdict for part in parts for id_, verdict in part.items()}


def text_of(rollout: Rollout, tokenizer: Any) -> str:
  """A response's text, without the EOS."""
  tokens = rollout.tokens if rollout.truncated else rollout.tokens[:-1]
  return tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def request_of(prompt: Prompt, rollout: Rollout, text: str) -> ScoreRequest:
  """What a response is judged by."""
  problem = prompt.problem
  return ScoreRequest(
    id=f"{problem.id}/{rollout.sample}",
    prompt=prompt.text,
    response=text,
    ended=not rollout.truncated,
    domain=problem.domain,
    answer=problem.answer,
    tests=problem.tests,
  )


def response_rows(group: Group) -> Iterator[dict[str, Any]]:
  """What is kept of each response, as workdir.RESPONSE_FIELDS."""
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
  """The groups of each domain, in their order."""
  domains: dict[str, list[Group]] = {}
  for group in groups:
    domains.setdefault(group.prompt.problem.domain, []).append(group)
  return domains


def rewards_of(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(rewards, judged, truncated), each [prompt, sample]."""
  rewards = np.array([[v.reward for v in g.verdicts] for g in groups], np.float64)
  judged = np.array([[v.correct is not None for v in g.verdicts] for g in groups])
  truncated = np.array([[r.truncated for r in g.rollouts] for g in groups])
  return rewards, judged, truncated
