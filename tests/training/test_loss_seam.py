"""User-defined losses: values by hand, independence of how the batch is cut, refusals, resuming and replaying."""

import dataclasses
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srpo_jax.algorithm.loss import policy_loss
from srpo_jax.training.batch import make_micro_batches, pack_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions, make_optimizer
from srpo_jax.training.replay import replay
from srpo_jax.training.shared_batch import pack_shared_micro_batches, share_micro_batches
from srpo_jax.training.user_loss import load_loss
from srpo_jax.types import Rollout
from srpo_jax.utils.errors import InputError
from tests.helpers import documents, losses
from tests.helpers.losses import make_inputs
from tests.helpers.paths import ROOT
from tests.helpers.runs import assert_same_run, launch, metrics, toy

KL = "tests.helpers.losses:kl"


@pytest.fixture(autouse=True)
def examples(tmp_path, monkeypatch):
  """Makes the examples of docs/extending.md importable, unchanged."""
  documents.install_examples(tmp_path, monkeypatch)


def value_and_gradient(loss, inputs):
  def value(logprob):
    outputs = loss(dataclasses.replace(inputs, logprob=logprob))
    return outputs.loss, outputs.clipped

  (found, clipped), slope = jax.value_and_grad(value, has_aux=True)(inputs.logprob)
  return float(found), np.asarray(clipped), np.asarray(slope)


def test_the_examples_are_short():
  codes = [documents.examples()[name] for name in ("my_gspo.py", "my_cispo.py")]
  assert all(code.count("\n") < 20 for code in codes)


def test_gspo_by_hand():
  """Three of the batch's four responses, two of them packed into one row, with old and new log-probs that differ."""
  # Row 1 holds a response of two tokens and one of one token. Row 2 holds a response of two tokens and padding.
  log_ratio = np.array([[4e-4, 0.0, 1e-3], [-8e-4, -2e-4, 0.0]])
  old = np.array([[-1.0, -0.5, -0.25], [-0.5, -1.0, -9.0]])
  inputs = make_inputs(
    old + log_ratio,
    old,
    [[2.0, 2.0, 1.0], [-1.0, -1.0, 7.0]],
    [[True, True, True], [True, True, False]],
    response=jnp.array([[1, 1, 2], [1, 1, 0]]),
    n_responses=4,
  )
  found, clipped, slope = value_and_gradient(load_loss("my_gspo:gspo"), inputs)
  # The mean log-ratios 2e-4, 1e-3 and -5e-4 give the ratios 1.0002, 1.0010 and 0.9995. The clip range is 0.9997 to
  # 1.0004, so the second (A > 0) and the third (A < 0) are clipped: 2 * 1.0002 + 1 * 1.0004 - 1 * 0.9997.
  first = math.exp(2e-4)
  assert found == pytest.approx(-(2 * first + 1.0004 - 0.9997) / 4, abs=1e-6)
  assert found == pytest.approx(-0.500275, abs=1e-6)
  np.testing.assert_array_equal(clipped, [[False, False, True], [True, True, False]])
  # Each of the first response's two tokens gets half of d(2 * ratio): 2 * 1.0002 / 2 / 4.
  np.testing.assert_allclose(slope, [[-first / 4, -first / 4, 0], [0, 0, 0]], atol=1e-6)


def test_cispo_by_hand():
  """Three of the batch's five tokens, with the ratios 1.5, 3 and 0.1."""
  new, old = np.log([[0.6, 0.9, 0.05, 0.5]]), np.log([[0.4, 0.3, 0.5, 0.1]])
  inputs = make_inputs(new, old, [[2.0, 2.0, -1.0, 9.0]], [[True, True, True, False]], 5)
  found, clipped, slope = value_and_gradient(load_loss("my_cispo:cispo"), inputs)
  # The weights are 1.5, 2 (clipped) and 0.1: 1.5 * 2 * log 0.6 + 2 * 2 * log 0.9 - 0.1 * log 0.05, over 5 tokens.
  assert found == pytest.approx(-(3 * math.log(0.6) + 4 * math.log(0.9) - 0.1 * math.log(0.05)) / 5, abs=1e-6)
  assert found == pytest.approx(0.330869, abs=1e-6)
  np.testing.assert_array_equal(clipped, [[False, True, False, False]])
  np.testing.assert_allclose(slope, [[-3 / 5, -4 / 5, 0.1 / 5, 0]], atol=1e-6)  # the clipped token keeps its gradient


def test_kl_to_the_reference_by_hand():
  """Two tokens whose reference / new probabilities are 2 and 1/2, with ratio 1 to the old policy."""
  new = np.log([[0.25, 0.5, 0.1]])
  inputs = make_inputs(
    new,
    new,
    [[1.0, -3.0, 0.0]],
    [[True, True, False]],
    reference_logprob=jnp.asarray(np.log([[0.5, 0.25, 0.7]]), jnp.float32),
  )
  found, _, slope = value_and_gradient(losses.kl, inputs)
  # With q = reference / new, k3 = q - log q - 1 is 2 - 0.693147 - 1 = 0.306853 and 0.5 + 0.693147 - 1 = 0.193147.
  # The objective without it is 1 - 3 = -2.
  assert found == pytest.approx((2 + 0.1 * (0.306853 + 0.193147)) / 2, abs=1e-6)
  # d k3 / d new = 1 - q.
  np.testing.assert_allclose(slope, [[(-1 + 0.1 * (1 - 2)) / 2, (3 + 0.1 * (1 - 0.5)) / 2, 0]], atol=1e-6)


LENGTHS = (1, 3, 17, 2, 9, 5, 12)
ADVANTAGES = (1.5, -0.5, 0.0, 2.0, -1.0, 0.25, -2.0)


def make_responses():
  """Returns a response of each length. Three responses in a row have the same prompt."""
  rng = np.random.default_rng(0)

  def one(i, n):
    prompt, tokens = (rng.integers(0, 384, size).astype(np.int32) for size in (rng.integers(12, 19), n))
    return Rollout(str(i), 0, prompt, tokens, rng.normal(-5, 1, n).astype(np.float32), False)

  rollouts = [one(i, n) for i, n in enumerate(LENGTHS)]
  prompts = [rollouts[i // 3 * 3].prompt_tokens for i in range(len(rollouts))]
  return [
    (dataclasses.replace(rollout, prompt_tokens=prompt), advantage)
    for rollout, prompt, advantage in zip(rollouts, prompts, ADVANTAGES, strict=True)
  ]


@pytest.mark.parametrize(
  "spec",
  ["", pytest.param("my_gspo:gspo", marks=pytest.mark.slow), pytest.param("my_cispo:cispo", marks=pytest.mark.slow)],
  ids=["built-in", "gspo", "cispo"],
)
def test_padding_packing_and_micro_batches_give_the_same_update(model, spec):
  """Cuts the batch into 1, 2 and 4 padded micro-batches, into packed rows, and into both with shared prompts.

  The second of two updates is compared, so that old and new log-probs differ.
  """
  config, params = model
  rate = 1e-6 if spec == "my_gspo:gspo" else 1e-4  # GSPO's clip range is narrow: a longer step clips every response
  adamw = make_optimizer(learning_rate=rate, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=1.0)
  options = LearnerOptions(head_chunk=4, on_policy=False, loss=load_loss(spec) if spec else None)
  learner, responses = Learner(config, adamw, options), make_responses()
  n_tokens, n_responses = sum(LENGTHS), len(LENGTHS)
  cuts = [make_micro_batches(responses, rows=rows, length_bucket=32) for rows in (7, 4, 2)]
  cuts.append(pack_micro_batches(responses, rows=2, row_tokens=40))
  assert [len(batches) for batches in cuts[:3]] == [1, 2, 4] and max(int(b.segments.max()) for b in cuts[3]) > 1
  cuts.append(share_micro_batches(responses, rows=8, length_bucket=1, row_multiple=1))
  cuts.append(pack_shared_micro_batches(responses, rows=1, row_tokens=40))
  assert all(batch.shared is not None for batches in cuts[4:] for batch in batches)
  cuts = [learner.with_old_logprobs(params, batches) for batches in cuts]
  moved = learner.update(learner.init(jax.tree.map(jnp.copy, params)), cuts[0], n_tokens, n_responses)[0].params
  found = []
  for batches in cuts:
    total, loss, n_clipped = jax.tree.map(jnp.zeros_like, params), 0.0, 0.0
    for batch in batches:
      total, stats = learner.accumulate(moved, total, batch, np.float32(n_tokens), np.float32(n_responses))
      loss, n_clipped = loss + float(stats.loss), n_clipped + float(stats.clipped)
    found.append((loss, n_clipped, total))
  (loss, n_clipped, expected), *others = found
  largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
  assert largest > 1e-2 and (spec != "my_gspo:gspo" or n_clipped > 0)
  for other_loss, other_clipped, got in others:
    assert other_loss == pytest.approx(loss, rel=1e-6, abs=1e-6) and other_clipped == n_clipped
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * max(1.0, largest))


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("bare", r"returned float32 of shape \(\), expected srpo_jax\.algorithm\.loss\.LossOutputs"),
    ("per_token", r"returned float32 of shape \(3, 4\) as loss, expected a floating-point scalar"),
    ("one_clipped", r"returned int32 of shape \(\) as clipped, expected booleans of shape \(3, 4\) or None"),
    ("unmasked", r"let padding into the loss, expected tokens outside inputs\.mask to add nothing"),
    ("not_a_number", r"gave a loss or gradient that is not finite for a batch with padding"),
    ("mean", r"gave \S+ for a micro-batch and \S+ for the sum of its rows, expected the same: divide by"),
    ("branching", r"failed on made-up tokens: TracerBoolConversionError: "),
    ("kl_without_asking", r"failed on made-up tokens: TypeError: "),
    ("absent", r"has no absent"),
  ],
)
def test_what_is_wrong_with_a_loss_is_named(name, message):
  with pytest.raises(InputError, match=rf"tests\.helpers\.losses:{name}.* {message}") as error:
    load_loss(f"tests.helpers.losses:{name}")
  assert "\n" not in str(error.value)


def test_a_gradient_at_zero_advantage_is_refused_if_such_responses_are_skipped():
  assert load_loss(KL) is losses.kl
  with pytest.raises(
    InputError, match=rf"config\.loss\.function: {KL} has a gradient at zero advantage.*skip_zero_adv"
  ):
    load_loss(KL, skip_zero_advantage=True)
  for spec in ("my_gspo:gspo", "my_cispo:cispo", "tests.helpers.losses:kept"):
    assert load_loss(spec, skip_zero_advantage=True)


def test_a_wrong_loss_ends_the_run_before_anything_is_written(talkative, tmp_path):
  with pytest.raises(InputError, match=r"config\.loss\.function: tests\.helpers\.losses:mean gave"):
    launch(toy(talkative, loss__function="tests.helpers.losses:mean"), tmp_path / "r")
  assert not any((tmp_path / "r").glob("*"))
  with pytest.raises(InputError, match=r"config\.loss\.function: tests\.helpers\.losses:absent: .* has no absent"):
    toy(talkative, loss__function="tests.helpers.losses:absent")
  with pytest.raises(InputError, match=r"config\.loss\.importance_cap: expected 0 with loss\.function"):
    toy(talkative, loss__function=KL, loss__importance_cap=2.0)


def changes_for(spec):
  changes = {"loss__function": spec, "loss__updates": 2, "train__steps": 3, "train__skip_zero_advantage": False}
  return changes | {"optimizer__learning_rate": 1e-3, "checkpoint__keep": 4}


def assert_replayed(workdir, step):
  found = replay(workdir, step)
  assert all(check.agrees for check in found.checks)
  recorded = {name: value for name, value in metrics(workdir)[step].items() if name.startswith("policy/")}
  assert found.metrics == recorded and recorded["policy/grad_norm"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["my_gspo:gspo", "my_cispo:cispo"], ids=["gspo", "cispo"])
def test_an_example_is_resumed_and_replayed(talkative, tmp_path, spec):
  config = toy(talkative, **changes_for(spec))
  done = launch(config, tmp_path / "a")
  launch(toy(talkative, **changes_for(spec) | {"train__steps": 1}), tmp_path / "b")
  assert_same_run(done, launch(config, tmp_path / "b"))
  assert_replayed(done, 1)


@pytest.mark.slow
def test_a_loss_with_a_reference_survives_a_kill_and_is_replayed(talkative, tmp_path):
  """The run is killed in step 2, after the checkpoint of step 2. On resume it loads the base again as the reference."""
  done = launch(toy(talkative, **changes_for(KL)), tmp_path / "a")
  config_file, workdir = tmp_path / "config.py", tmp_path / "k"
  changes = changes_for(KL) | {"reward__function": "tests.helpers.plugins:parity_then_kill"}
  config_file.write_text(
    "from tests.helpers.runs import toy\nfrom ml_collections import ConfigDict\nimport dataclasses\n"
    f"def get_config():\n  return ConfigDict(dataclasses.asdict(toy({str(talkative)!r}, **{changes!r})))\n"
  )
  command = [sys.executable, "-m", "srpo_jax.launch", f"--config={config_file}", f"--workdir={workdir}"]
  killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": "26"}, capture_output=True)
  assert killed.returncode == -9 and len(metrics(workdir)) == 2
  subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": "0"}, check=True, capture_output=True)
  assert_same_run(done, workdir)
  assert_replayed(done, 2)  # starts from the checkpoint of step 2
  assert_replayed(done, 1)  # starts from the base and repeats the update of step 0


@pytest.mark.slow
def test_the_reference_of_a_second_run_is_its_initial_policy(talkative, tmp_path):
  first = launch(toy(talkative, train__steps=2), tmp_path / "first")
  changes = changes_for(KL) | {"init_from": str(first), "model__path": "", "train__steps": 4}
  done = launch(toy(talkative, **changes), tmp_path / "a")
  launch(toy(talkative, **changes | {"train__steps": 3}), tmp_path / "b")
  assert_same_run(done, launch(toy(talkative, **changes), tmp_path / "b"))
  assert all(check.agrees for check in replay(done, 3).checks)
  # In the first step the policy equals the reference, so the KL term is 0 and the loss equals the built-in loss.
  plain = launch(toy(talkative, **changes | {"loss__function": "", "loss__updates": 1}), tmp_path / "p")
  single = launch(toy(talkative, **changes | {"loss__updates": 1}), tmp_path / "s")
  assert metrics(single)[0]["policy/loss"] == pytest.approx(metrics(plain)[0]["policy/loss"], abs=1e-6)
  assert metrics(single)[1]["policy/loss"] > metrics(plain)[1]["policy/loss"]  # larger by the KL term


def test_the_built_in_loss_needs_no_reference():
  assert not hasattr(policy_loss, "needs_reference")
