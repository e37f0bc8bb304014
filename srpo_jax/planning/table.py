"""Plan as text and as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from srpo_jax.config import Config
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.planning import memory, traffic
from srpo_jax.planning.chips import GIB, Topology
from srpo_jax.planning.phases import Step
from srpo_jax.planning.programs import Program
from srpo_jax.planning.shapes import n_parameters
from srpo_jax.planning.workload import Workload


@dataclasses.dataclass(frozen=True)
class Plan:
  """Results of one plan."""

  config: Config
  topology: Topology
  shape: TransformerConfig
  mesh: tuple[int, int, int]
  programs: Mapping[str, Program]
  workload: Workload
  step: Step | None  # None without published rates, or if a program did not compile
  notes: tuple[str, ...] = ()

  @property
  def refused(self) -> list[Program]:
    return [program for program in self.programs.values() if program.refused]

  @property
  def peak(self) -> memory.Phase | None:
    return memory.peak(self.programs)

  @property
  def fits(self) -> bool | None:
    """True if the peak fits into the memory, None if the memory is unknown."""
    if self.refused:
      return False
    available, peak = self.topology.chip.available, self.peak
    return None if available is None or peak is None else peak.total <= available


def markdown(rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table. The first row is its head. The first column is aligned left, the others right."""
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

  def line(row: Sequence[str]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "| " + " | ".join(cells) + " |"

  rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
  return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def gib(n: float) -> str:
  """Formats bytes as GiB, without the unit."""
  return f"{n / GIB:.2f}" if n >= GIB or not n else f"{n / GIB:.2g}"


def _parameters(n: int) -> str:
  return f"{n / 1e9:.2f} B" if n >= 1e8 else f"{n / 1e6:.2f} M"


def seconds(s: float) -> str:
  """Formats seconds to about three digits, without the unit."""
  return f"{s:,.0f}" if s >= 100 else f"{s:.1f}" if s >= 1 else f"{s:.3f}"


def _head(plan: Plan) -> str:
  c, w, t = plan.config, plan.workload, plan.topology
  data, fsdp, tensor = plan.mesh
  rows = f"{c.train.pack_tokens} packed" if c.train.pack_tokens else f"up to {w.micro_batches[0][0]}"
  lines = [
    f"{c.model.path or c.model.build}: {_parameters(n_parameters(plan.shape))} parameters, "
    f"{c.model.param_dtype} weights and moments, {c.model.dtype} computation, remat {c.model.remat}",
    f"{t.name}: {t.chips} {'chips' if t.chips > 1 else 'chip'}, mesh data {data} x fsdp {fsdp} x tensor {tensor}; "
    f"micro-batch {c.train.micro_batch} rows of {rows} tokens; {c.rollout.slots} slots, chunks of {c.rollout.chunk}",
    f"a step: {c.rollout.prompts} prompts of {w.lengths.prompt} tokens x {c.rollout.group} responses; lengths "
    f"lognormal, mean {w.lengths.mean:,.0f}, sigma {w.lengths.sigma:g}, cut at {c.rollout.max_new_tokens:,}: mean "
    f"{w.mean_length:,.0f}, {w.truncated / w.responses:.1%} cut, {w.new_tokens:,} tokens; "
    f"{w.rollouts.steps:,} decode steps, {sum(n for *_, n in w.micro_batches):,} micro-batches",
  ]
  return "\n".join(lines)


def _memory(plan: Plan) -> str:
  head = ["GiB a chip, while this runs", "weights", "moments", "gradients", "serving", "KV cache", "temporaries"]
  rows = [[*head, "total"]]
  for phase in memory.phases(plan.programs):
    parts = [phase.held.get(name) for name in ("weights", "moments", "gradients", "serving weights", "KV cache")]
    other = phase.temporaries + phase.held.get("code", 0)
    rows.append([phase.program, *("-" if p is None else gib(p) for p in parts), gib(other), gib(phase.total)])
  chip, peak = plan.topology.chip, plan.peak
  text = markdown(rows) + "\n(temporaries: XLA's, and the code of all programs)"
  if plan.refused:
    text += f"\n\nDOES NOT FIT: XLA refuses {', '.join(program.name for program in plan.refused)}"
  elif peak is not None and chip.available and chip.capacity:
    verdict = "FITS" if plan.fits else "DOES NOT FIT"
    text += (
      f"\n\n{verdict}: {gib(peak.total)} GiB of {gib(chip.available)} GiB that XLA can use (published: "
      f"{gib(chip.capacity)} GiB), {peak.total / chip.available:.0%}, in {peak.program}"
    )
  return text


def _programs(plan: Plan) -> str:
  head = ["one run of a program", "TFLOPs, all chips", "GB HBM a chip", "GB received a chip"]
  head += ["args", "out", "alias", "temp", "peak", "compile s"]
  rows = [head]
  for p in plan.programs.values():
    raw = [gib(p.memory[name]) if p.memory else "-" for name in ("argument", "output", "alias", "temp", "peak_memory")]
    counts = [
      f"{n:,.2f}" if n >= 1 else f"{n:.2g}" for n in (p.flops / 1e12, p.traffic.hbm / 1e9, p.traffic.wire / 1e9)
    ]
    rows.append([p.name, *counts, *raw, f"{p.seconds:.0f}"])
  return markdown(rows) + "\n(args to peak: memory_analysis() as it is, GiB a chip)"


def _collectives(plan: Plan) -> str:
  rows = [["collectives of one run", "kind", "times", "GB received a chip"]]
  for p in plan.programs.values():
    for kind, (count, received) in sorted(p.traffic.collectives.items()):
      rows.append([p.name, kind, f"{count:,.0f}", f"{received / 1e9:,.4f}"])
  return markdown(rows) if len(rows) > 1 else "no collectives"


def _step(plan: Plan) -> str:
  step, chip = plan.step, plan.topology.chip
  if step is None:
    reason = "a program does not fit" if plan.refused else f"{chip.name}: {chip.source}"
    return f"no times: {reason}"
  assert chip.flops and chip.hbm and chip.ici
  rows = [["BOUND, seconds a step", "runs", "FLOPs", "HBM", "ICI", "at least", "bound by"]]
  for r in step.phases:
    parts = [seconds(s) for s in (r.flops_s, r.hbm_s, r.ici_s, r.seconds)]
    rows.append([r.phase, f"{r.runs:,.0f}", *parts, r.bound_by])
  rows.append(["step", "", "", "", "", seconds(step.seconds), ""])
  return (
    markdown(rows)
    + f"\n(at the published {chip.flops / 1e12:.0f} TFLOP/s, {chip.hbm / 1e9:,.0f} GB/s and {chip.ici / 1e9:.0f} GB/s "
    f"a chip: {chip.source}; no scoring, host or data)\n\n"
    f"BOUNDS: step at least {seconds(step.seconds)} s; {step.tokens_per_s:,.0f} generated tokens/s at most "
    f"({step.rollout_tokens_per_s:,.0f} while sampling); MFU at most {step.update_mfu:.0%} in the update, "
    f"{step.step_mfu:.0%} over the step; at least {seconds(step.chip_hours)} chip-hours per 1,000 steps"
  )


def largest(plan: Plan, n: int) -> list[tuple[float, str, str]]:
  """Returns the `n` largest buffers of the refused program, or else of the peak, as (bytes, kind, origin).

  The buffers of the peak include the arrays alive throughout the program as well as those it makes.
  """
  if plan.refused:
    return list(plan.refused[0].largest[:n])
  peak = plan.peak
  if peak is None:
    return []
  held = [(float(size), "held", name) for name, size in peak.held.items()]
  return sorted([*held, *plan.programs[peak.program].largest], key=lambda buffer: -buffer[0])[:n]


def _largest(plan: Plan) -> str:
  where = plan.refused[0].refused if plan.refused else plan.peak.program if plan.peak else ""
  lines = [f"{where}\nits largest buffers:"]
  lines += [f"  {gib(size)} GiB  {kind}  {where}" for size, kind, where in largest(plan, 8)]
  return "\n".join(lines)


def text(plan: Plan) -> str:
  """Returns the whole plan as text."""
  parts = [_head(plan), *plan.notes, _memory(plan), _step(plan), _programs(plan), _collectives(plan)]
  if plan.fits is False:
    parts.append(_largest(plan))
  return "\n\n".join(parts)


def to_json(plan: Plan) -> dict[str, Any]:
  """Returns the whole plan as JSON. Sizes are bytes on one chip, FLOPs are of all chips together."""
  peak, chip = plan.peak, plan.topology.chip
  return {
    "model": plan.config.model.path or plan.config.model.build,
    "parameters": n_parameters(plan.shape),
    "topology": {"name": plan.topology.name, "chips": plan.topology.chips, "chip": dataclasses.asdict(chip)},
    "mesh": dict(zip(("data", "fsdp", "tensor"), plan.mesh, strict=True)),
    "config": dataclasses.asdict(plan.config),
    "workload": dataclasses.asdict(plan.workload) | {"rollouts": {
      "steps": plan.workload.rollouts.steps,
      "chunks": plan.workload.rollouts.chunks,
      "positions_in_use": plan.workload.rollouts.in_use,
    }},
    "memory": {
      "available": chip.available,
      "residents": memory.residents(plan.programs),
      "phases": {
        p.program: {**p.held, "temporaries": p.temporaries, "total": p.total} for p in memory.phases(plan.programs)
      },
      "peak": None if peak is None else {"program": peak.program, "bytes": peak.total},
      "fits": plan.fits,
    },
    "programs": {
      p.name: {
        "flops": p.flops,
        "memory_analysis": dict(p.memory),
        **traffic.to_json(p.traffic),
        "received_bytes": p.traffic.wire,
        "compile_seconds": p.seconds,
        "largest": [{"bytes": b, "kind": k, "where": w} for b, k, w in p.largest],
        "refused": p.refused,
      }
      for p in plan.programs.values()
    },
    "bounds": None if plan.step is None else dataclasses.asdict(plan.step) | {
      "phases": [dataclasses.asdict(r) | {"seconds": r.seconds, "bound_by": r.bound_by} for r in plan.step.phases]
    },
    "notes": list(plan.notes),
  }  # fmt: skip
