"""Tests that scheduling changes no response, that both backends give the same ones, and JetStream's API."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from jetstream.engine import engine_api

from srpo_jax.model import transformer
from srpo_jax.model.sampling import Purpose, prompt_key, uniforms
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.jetstream_engine import JetStreamEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups

SAMPLES, NEW = 5, 14
STOP = (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 200, 201, 202, 203, 204, 205)


def requests(order=1, temperature=1.0):
  rng = np.random.default_rng(0)
  prompts = [rng.integers(0, 380, n).astype(np.int32) for n in (3, 11, 6, 1, 8)]
  return [
    GroupRequest(f"p{i}", tokens, SAMPLES, prompt_key(7, Purpose.TRAIN, 2, f"p{i}"), NEW, temperature)
    for i, tokens in enumerate(prompts)
  ][::order]


def sample(model, *, slots=8, chunk=4, order=1, group=SAMPLES, engine_type=InProcessEngine, **kwargs):
  config, params = model
  engine = engine_type(
    config, slots=slots, max_prompt=12, max_new=NEW, chunk=chunk, stop_tokens=STOP, group=min(group, slots)
  )
  out = list(sample_groups(engine, params, requests(order, **kwargs), stop_tokens=STOP, prompt_bucket=4))
  assert len(out) == 5 * SAMPLES
  return {(r.prompt_id, r.sample): r for r in out}


@pytest.fixture(scope="module")
def reference(model):
  return sample(model)


def boundary_distance(model, rollout, at, token):
  """Returns the distance of the draw's uniform from the nearest edge of `token`'s interval of the CDF.

  The CDF comes from the full forward pass.
  """
  config, params = model
  row = np.concatenate([rollout.prompt_tokens, rollout.tokens[:at]])[None]
  hidden = transformer.forward(params, config, row, np.arange(row.shape[1])[None], np.ones_like(row))
  p = np.asarray(jax.nn.softmax(transformer.logits(params, hidden)[0, -1]), np.float64)
  key = jax.random.fold_in(prompt_key(7, Purpose.TRAIN, 2, rollout.prompt_id), rollout.sample)
  u = float(uniforms(key[None], np.array([at]))[0])
  upper = np.cumsum(p)
  return min(abs(u - upper[token]), abs(u - upper[token] + p[token]))


def assert_same_tokens(model, got, expected):
  """Checks that tokens are equal. One draw on the very edge between two tokens may fall to either side."""
  near = 0
  for key, a in got.items():
    b = expected[key]
    n = min(len(a.tokens), len(b.tokens))
    differ = np.flatnonzero(a.tokens[:n] != b.tokens[:n])
    if len(differ):
      assert boundary_distance(model, a, differ[0], a.tokens[differ[0]]) < 1e-4
      near += 1
    else:
      assert len(a.tokens) == len(b.tokens) and a.truncated == b.truncated
      np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
  assert near <= 1


def test_responses_are_varied(reference):
  lengths = [len(r.tokens) for r in reference.values()]
  assert min(lengths) < 5 and any(r.truncated for r in reference.values())
  assert any(not r.truncated for r in reference.values())
  for r in reference.values():
    assert r.truncated == (r.tokens[-1] not in STOP) and (len(r.tokens) == NEW or not r.truncated)
    assert not np.isin(r.tokens[:-1], STOP).any()


@pytest.mark.parametrize(
  "schedule",
  [{"slots": 3, "group": 2}, {"slots": 40}, {"chunk": 1}, {"order": -1}],
  ids=str,
)
def test_tokens_do_not_depend_on_the_schedule(model, reference, schedule):
  assert_same_tokens(model, sample(model, **schedule), reference)


def test_both_backends_give_identical_responses(model, reference):
  for key, got in sample(model, engine_type=JetStreamEngine).items():
    np.testing.assert_array_equal(got.tokens, reference[key].tokens)
    np.testing.assert_array_equal(got.logprobs, reference[key].logprobs)


def test_each_prompt_is_prefilled_once(model, monkeypatch):
  lengths = []
  plain = InProcessEngine.prefill
  monkeypatch.setattr(
    InProcessEngine,
    "prefill",
    lambda self, **kw: lengths.append((kw["true_length"], len(kw["padded_tokens"]))) or plain(self, **kw),
  )
  sample(model, slots=3)
  assert lengths == [(3, 4), (11, 12), (6, 8), (1, 4), (8, 8)]  # (tokens, tokens padded to the bucket)


def test_finished_slots_are_refilled_at_once(model, reference):
  """25 responses in 4 slots need at most the chunks of the best schedule plus those of one response."""
  config, params = model
  engine = InProcessEngine(config, slots=4, max_prompt=12, max_new=NEW, chunk=1, stop_tokens=STOP, group=4)
  calls = []
  plain = engine.generate
  engine.generate = lambda *a: calls.append(0) or plain(*a)
  list(sample_groups(engine, params, requests(), stop_tokens=STOP, prompt_bucket=4))
  total = sum(len(r.tokens) for r in reference.values())
  assert total / 4 <= len(calls) <= total / 4 + NEW


def test_jetstream_api(model, reference):
  """Uses the engine as JetStream's orchestrator does, with one slot per insert and real ResultTokens."""
  config, params = model
  engine = JetStreamEngine(config, slots=2, max_prompt=12, max_new=NEW, chunk=4, stop_tokens=STOP)
  assert isinstance(engine, engine_api.Engine)
  assert (engine.max_concurrent_decodes, engine.samples_per_slot, engine.max_prefill_length) == (2, 1, 12)
  assert engine.load_params(params) is params
  request = requests()[0]
  padded = np.zeros(4, np.int32)
  padded[:3] = request.tokens
  prefix = engine.prefill(params=params, padded_tokens=padded, true_length=3, key=request.key)
  state = engine.insert(prefix, engine.init_decode_state(), slot=1)
  tokens = []
  while state.active.any():
    state, result = engine.generate(params, state)
    assert isinstance(result, engine_api.ResultTokens)
    data = result.convert_to_numpy().get_result_at_slot(1)
    tokens += data.tokens[0][data.valid[0].astype(bool)].tolist()
    assert data.lengths[0] == len(tokens)
    assert not result.convert_to_numpy().get_result_at_slot(0).valid.any()
  assert tokens == reference["p0", 0].tokens.tolist()


def test_prompts_and_max_new_tokens_out_of_range_are_refused(model):
  config, params = model
  engine = InProcessEngine(config, slots=2, max_prompt=4, max_new=NEW, chunk=4, stop_tokens=STOP)
  for padded, length in ((8, 3), (4, 0), (4, 5)):
    with pytest.raises(ValueError, match="prompt of"):
      engine.prefill(params=params, padded_tokens=np.zeros(padded, np.int32), true_length=length)
  with pytest.raises(ValueError, match="max_new_tokens"):
    engine.prefill(params=params, padded_tokens=np.zeros(4, np.int32), true_length=2, max_new_tokens=NEW + 1)


def test_a_run_in_process_imports_no_other_framework(tmp_path):
  code = (
    "import sys, pathlib, srpo_jax.training.loop, srpo_jax.training.run; from srpo_jax.training import workdir; "
    f"workdir._Events(pathlib.Path({str(tmp_path)!r})); "
    "bad = {'jetstream', 'tensorflow', 'torch'} & set(sys.modules); assert not bad, bad"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_jetstream_does_not_change_the_root_logger():
  code = (
    "import logging, srpo_jax.rollout.jetstream_engine; "
    "assert logging.getLogger().level == logging.WARNING and not logging.getLogger().handlers"
  )
  done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
  assert done.stdout == ""


def test_sampling_may_end_early(model, reference):
  config, params = model
  engine = InProcessEngine(config, slots=8, max_prompt=12, max_new=NEW, chunk=4, stop_tokens=STOP, group=SAMPLES)
  calls = iter([False, False, True])
  ask = {"stop_tokens": STOP, "prompt_bucket": 4, "between": lambda: next(calls)}
  found = list(sample_groups(engine, params, requests(), **ask))
  cut = [rollout for rollout in found if rollout.truncated]
  assert len(found) < len(reference) and 0 < len(cut) <= 8  # at most one in each slot
  assert {len(rollout.tokens) for rollout in cut} <= {4, 8}
  for rollout in found:
    whole = reference[rollout.prompt_id, rollout.sample].tokens
    assert whole[: len(rollout.tokens)].tolist() == rollout.tokens.tolist()
    assert rollout.truncated or len(whole) == len(rollout.tokens)
