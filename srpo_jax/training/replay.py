"""Recomputes a recorded step of a run and compares it with the recording."""

import contextlib
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srpo_jax.model.sharding import make_mesh, on_mesh
from srpo_jax.rollout.collector import Group, text_of
from srpo_jax.training.metrics import MetricsRow, group_metrics
from srpo_jax.training.recording import Recording, Step
from srpo_jax.types import Verdict

# Relative and absolute tolerances. CLOSE is for the policy's metrics, which depend slightly on device and mesh. EQUAL
# is for means of equal numbers.
CLOSE, EQUAL = (1e-3, 1e-5), (0.0, 1e-9)
EXACT = ("correct", "format", "language_mix", "pass_fraction", "reward")


@dataclasses.dataclass(frozen=True)
class Check:
  """Comparison of one quantity with its recording.

  Attributes:
    name: name of the quantity.
    compared: number of values compared.
    differing: number of values that differ.
    largest: largest difference. NaN if the values are not numbers.
    first: description of the first difference. Empty if there is none.
  """

  name: str
  compared: int
  differing: int
  largest: float
  first: str

  @property
  def agrees(self) -> bool:
    return self.differing == 0


@dataclasses.dataclass(frozen=True)
class Replayed:
  """A recorded step and its recomputation.

  Attributes:
    recorded: step as recorded in the files.
    judged: the same groups, judged again.
    advantages: advantages of `judged`, [prompt, sample].
    metrics: policy/* metrics of the repeated update. Empty if it was not repeated.
    moved: prompt id -> for each response, the change in each token's log-probability due to the update.
    checks: comparisons with the recording.
  """

  recorded: Step
  judged: tuple[Group, ...]
  advantages: np.ndarray
  metrics: MetricsRow
  moved: Mapping[str, tuple[np.ndarray, ...]]
  checks: tuple[Check, ...]


def replay(
  workdir: str | Path, step: int, *, loss: bool = True, moved: Collection[str] = (), overrides: Sequence[str] = ()
) -> Replayed:
  """Recomputes step `step` of a run and compares it with the recording.

  Args:
    loss: also repeats the update, which loads the weights.
    moved: ids of prompts for which the change in log-probabilities due to the update is returned. Needs `loss`.
    overrides: changes to the run's config, as --config.section.field=value.

  Raises:
    InputError: a file or row is missing or does not fit. The message names it.
  """
  with contextlib.ExitStack() as stack:
    run = stack.enter_context(Recording(workdir, overrides))
    stack.enter_context(on_mesh(make_mesh(**dataclasses.asdict(run.config.mesh))))
    row = run.files.step_metrics(step)
    recorded = run.step(step)
    judged = run.judge(recorded.groups)
    advantages = run.advantages(judged)
    checks = [_texts(run, recorded.groups), *(_verdicts(name, recorded.groups, judged) for name in EXACT)]
    checks.append(_advantages(recorded, advantages))
    checks += [_figure(name, row.get(name), value, EQUAL) for name, value in group_metrics(judged, advantages).items()]
    metrics, changes = _update(run, recorded, moved) if loss else ({}, {})
    checks += [_figure(name, row.get(name), value, CLOSE) for name, value in metrics.items()]
    return Replayed(recorded, judged, advantages, metrics, changes, tuple(checks))


def _update(
  run: Recording, recorded: Step, moved: Collection[str]
) -> tuple[MetricsRow, dict[str, tuple[np.ndarray, ...]]]:
  """Returns the update's policy/* metrics, and the changes in log-probabilities for the prompts in `moved`."""
  groups = {group.prompt.problem.id: group for group in recorded.groups if group.prompt.problem.id in moved}
  state = run.state_before(recorded.number)
  before = {id_: run.logprobs(state, group.rollouts) for id_, group in groups.items()}
  state, metrics = run.update(state, recorded)
  after = {id_: run.logprobs(state, group.rollouts) for id_, group in groups.items()}
  return metrics, {id_: tuple(b - a for a, b in zip(before[id_], after[id_], strict=True)) for id_ in groups}


def _texts(run: Recording, groups: Sequence[Group]) -> Check:
  responses = [of for g in groups for of in zip(g.verdicts, g.texts, g.rollouts, strict=True)]
  return _compared("text", [(v.id, text, text_of(rollout, run.tokenizer)) for v, text, rollout in responses])


def _verdicts(name: str, recorded: Sequence[Group], judged: Sequence[Group]) -> Check:
  """Compares one field of all verdicts. Numbers are rounded to float32, as in the files."""

  def value(verdict: Verdict) -> float | None:
    found = getattr(verdict, name)
    return None if found is None or np.isnan(found) else float(np.float32(found))

  both = [(a, b) for g, h in zip(recorded, judged, strict=True) for a, b in zip(g.verdicts, h.verdicts, strict=True)]
  notes = {b.id: f" ({a.reason!r}, now {b.reason!r})" for a, b in both if a.reason != b.reason}
  return _compared(name, [(a.id, value(a), value(b)) for a, b in both], notes)


def _advantages(recorded: Step, advantages: np.ndarray) -> Check:
  ids = [verdict.id for group in recorded.groups for verdict in group.verdicts]
  values = zip(ids, recorded.advantages.ravel().tolist(), advantages.ravel().tolist(), strict=True)
  return _compared("advantage", list(values))


def _figure(name: str, recorded: float | None, value: float | None, within: tuple[float, float]) -> Check:
  same, off = recorded is value, np.nan
  if recorded is not None and value is not None:
    same, off = bool(np.isclose(value, recorded, *within)), abs(value - recorded)
  return Check(name, 1, int(not same), off, "" if same else f"{recorded!r} recorded, {value!r} now")


def _compared(name: str, rows: Sequence[tuple[str, Any, Any]], notes: Mapping[str, str] | None = None) -> Check:
  """Compares rows of (id, recorded value, new value). The two values must be equal."""
  differing = [(id_, a, b) for id_, a, b in rows if a != b]
  off = [abs(a - b) for _, a, b in rows if isinstance(a, float) and isinstance(b, float)]
  first = ""
  if differing:
    id_, a, b = differing[0]
    first = f"{id_}: {a!r:.60} recorded, {b!r:.60} now{(notes or {}).get(id_, '')}"
  return Check(name, len(rows), len(differing), max(off, default=np.nan), first)


def table(checks: Sequence[Check]) -> str:
  """Returns the checks as a table, one line per check."""
  lines = [f"{'':26} {'compared':>9} {'differing':>9} {'largest difference':>19}"]
  for check in checks:
    largest = "-" if np.isnan(check.largest) else f"{check.largest:.3g}"
    lines.append(f"{check.name:26} {check.compared:9} {check.differing:9} {largest:>19}  {check.first}".rstrip())
  return "\n".join(lines)
