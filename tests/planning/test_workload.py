"""Compares the simulated schedule with the sampler's, and the simulated packing with the trainer's."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from configs import tiny
from srpo_jax.config import make_config
from srpo_jax.planning.workload import Lengths, make_workload, simulate
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.training.batch import make_micro_batches, pack_micro_batches
from srpo_jax.types import Rollout


class CountingEngine:
  """Engine whose responses have given lengths and end in a stop token. Counts the steps of the real engine."""

  group, max_prompt = 4, 16

  def __init__(self, lengths, slots, chunk):
    self.waiting, self.slots, self.chunk = iter(lengths), slots, chunk
    self.left, self.used, self.steps, self.chunks, self.in_use = [0] * slots, [0] * slots, 0, 0, 0

  def init_decode_state(self):
    return None

  def prefill(self, **request):
    return request["true_length"]

  def insert_group(self, prompt, state, slots, samples):
    for slot in slots:
      self.left[slot], self.used[slot] = next(self.waiting), prompt
    return state

  def generate(self, params, state):
    tokens, valid = np.zeros((self.slots, self.chunk), int), np.zeros((self.slots, self.chunk), int)
    for step in range(self.chunk):
      if not any(self.left):
        break
      self.steps += 1
      for slot in range(self.slots):
        if self.left[slot]:
          self.left[slot] -= 1
          self.used[slot] += 1
          self.in_use += self.used[slot]
          valid[slot, step], tokens[slot, step] = 1, self.left[slot] == 0
    self.chunks += 1
    data = np.concatenate([tokens, valid, np.zeros((self.slots, 1), int)], axis=1)
    k = self.chunk
    result = types.SimpleNamespace(data=data, tokens_idx=(0, k), valid_idx=(k, 2 * k), length_idx=(2 * k, 2 * k + 1))
    return types.SimpleNamespace(logprobs=np.zeros((self.slots, k))), result


@pytest.mark.parametrize(("slots", "chunk"), [(8, 4), (6, 7), (64, 5)])
def test_the_schedule_equals_the_samplers(slots, chunk):
  lengths = np.random.default_rng(1).integers(1, 30, 40)
  engine = CountingEngine(lengths, slots, chunk)
  requests = [GroupRequest(str(i), np.ones(9, np.int32), 4, jax.random.key(0), 100) for i in range(10)]
  rollouts = list(sample_groups(engine, None, requests, stop_tokens=[1], prompt_bucket=16))
  assert sorted(len(r.tokens) for r in rollouts) == sorted(lengths)
  found = simulate(lengths, prompt=9, slots=slots, chunk=chunk)
  assert (found.steps, found.chunks) == (engine.steps, engine.chunks)
  assert found.in_use == pytest.approx(engine.in_use / engine.steps)


@pytest.mark.parametrize("pack_tokens", [0, 128])
def test_micro_batches_equal_the_trainers(pack_tokens):
  config = make_config(tiny.get_config())
  train = dataclasses.replace(config.train, pack_tokens=pack_tokens, micro_batch=8)
  config = dataclasses.replace(config, train=train)
  lengths = Lengths(mean=20, sigma=0.8, prompt=30)
  work = make_workload(config, lengths)
  sizes = lengths.draw(32 * 16, 64)
  responses = [
    (Rollout("p", i, np.zeros(30, np.int32), np.zeros(n, np.int32), np.zeros(n, np.float32), truncated=False), 1.0)
    for i, n in enumerate(sizes)
    if n < 64
  ]
  if pack_tokens:
    batches = pack_micro_batches(responses, rows=8, row_tokens=128)
  else:
    batches = make_micro_batches(responses, rows=8, length_bucket=config.train.length_bucket)
  shapes = [(b.tokens.shape[1], b.target.shape[1]) for b in batches]
  assert sorted(shapes) == sorted((t, r) for t, r, n in work.micro_batches for _ in range(n))
  assert work.trained_tokens == sum(int((b.segments > 0).sum()) for b in batches)


def test_lengths_have_the_stated_mean_and_are_cut():
  lengths = Lengths(mean=2500, sigma=0.8, prompt=256)
  drawn = lengths.draw(8192, 10**9)
  assert drawn.mean() == pytest.approx(2500, rel=0.01)
  assert np.log(drawn).std() == pytest.approx(0.8, rel=0.01)
  cut = lengths.draw(8192, 10_240)
  assert cut.max() == 10_240 and np.mean(cut == 10_240) == pytest.approx(np.mean(drawn >= 10_240))
  assert (lengths.draw(8192, 10_240) == cut).all()
