"""Makes one self-contained HTML page of a run: curves, pass rates of each prompt by epoch, and rollouts to read.

The page fetches nothing. Its figures are SVG images inside it, its data is a block of JSON, and its content security
policy forbids network access. Text that a model wrote enters the page only as text, never as markup.
"""

import base64
import dataclasses
import hashlib
import html
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from srpo_jax.analysis.curves import as_svg, draw_epochs, draw_heldout, draw_panel, draw_retired, panels
from srpo_jax.analysis.questions import QuestionReader
from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.analysis.summary import by_set
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import is_local

SEEN = ("prompt_id", "domain", "epoch", "step", "correct", "n_tokens")
_NUMBERS = ("reward", "correct", "pass_fraction", "format", "language_mix", "advantage", "n_tokens", "truncated")
_OF_TOKEN, _OF_ROW, _OF_PROMPT = 4, 120, 1000  # rough number of characters that each takes on the page
_CUT = 200  # number of characters shown of a question whose rollouts are not on the page
SHOWN = ("step", "epoch", "sample", *_NUMBERS, "reason", "response")


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits of a page for a large run."""

  prompts: int = 20_000  # rows of the table
  characters: int = 30_000_000  # rough size of all rollouts to read, with four characters a token plus their fields


def make_report(run: RunFiles, others: Sequence[RunFiles] = (), limits: Limits | None = None) -> str:
  """Returns the page of a run as HTML.

  Args:
    others: runs whose curves are drawn together with this run's.

  Raises:
    InputError: a run is given twice, or a file of a run cannot be read.
  """
  runs = _named([run, *others])
  domains = list(dict.fromkeys(domain for one in runs.values() for domain in one.domains))
  figures = [(panel.title, draw_panel(panel, runs)) for panel in panels(domains)]
  sets = dict.fromkeys(name for one in runs.values() for name in by_set(one.evals))
  held = [(f"Held-out: {name}", draw_heldout(name, runs)) for name in sets]
  epochs = [
    (f"History resampling: {domain}", draw_retired(domain, runs) if others else draw_epochs(domain, run))
    for domain in domains
  ]
  shown = (*held, *figures[:5], *epochs, *figures[5:])
  data = prompts_and_rollouts(run, limits or Limits())
  page = resources.files("srpo_jax.analysis.page")
  parts = {
    "title": html.escape(run.name),
    "style": (page / "page.css").read_text(),
    "script": (page / "page.js").read_text(),
    "summary": _summary(run, others),
    "figures": "\n".join(_image(title, as_svg(drawn)) for title, drawn in shown if drawn),
    "data": _as_script(data),
  }
  text = (page / "page.html").read_text()
  before, *rest = text.split("{{")
  return before + "".join(parts[name] + after for name, _, after in (part.partition("}}") for part in rest))


def prompts_and_rollouts(run: RunFiles, limits: Limits) -> dict[str, Any]:
  """Returns the data of the page's table and viewer.

  `notes` says what was left out. `prompts` has the id, domain, question, rates (epoch -> numbers of correct, judged and
  all rollouts) and retiring epoch of each. `rollouts` maps a prompt id to its prompt and its rows of `columns`.
  """
  seen = run.rollouts(SEEN)
  rows = seen.group_by(["prompt_id", "domain", "epoch"], use_threads=False).aggregate(
    [("correct", "sum"), ("correct", "count"), ("n_tokens", "sum"), ("n_tokens", "count"), ("step", "min")]
  )
  prompts: dict[str, dict[str, Any]] = {}
  sizes: dict[str, int] = {}
  first: dict[str, int] = {}
  for row in rows.to_pylist():
    entry = prompts.setdefault(row["prompt_id"], {"id": row["prompt_id"], "domain": row["domain"], "rates": {}})
    judged = row["correct_count"]
    entry["rates"][row["epoch"]] = [row["correct_sum"] or 0, judged, row["n_tokens_count"]]
    first[row["prompt_id"]] = min(row["step_min"], first.get(row["prompt_id"], row["step_min"]))
    size = _OF_TOKEN * row["n_tokens_sum"] + _OF_ROW * row["n_tokens_count"]
    sizes[row["prompt_id"]] = sizes.get(row["prompt_id"], _OF_PROMPT) + size
  for domain in run.domains:
    for epoch in run.epochs(domain):
      table = run.history(domain, epoch)
      for id_, retained in zip(table["prompt_id"].to_pylist(), table["retained"].to_pylist(), strict=True):
        if id_ in prompts:
          # The last epoch decides, since a stage may bring prompts back.
          prompts[id_]["retired"] = None if retained else epoch
  if not prompts:
    return {"notes": ["The run's folder holds no rollouts."], "columns": list(SHOWN), "prompts": [], "rollouts": {}}
  order = sorted(prompts, key=lambda id_: hashlib.sha256(id_.encode()).digest())  # random, but the same each time
  read = _within(order, sizes, limits.characters)
  listed = set(order[: limits.prompts]) | set(read)
  steps = pc.unique(seen.filter(pc.is_in(seen["prompt_id"], pa.array(read)))["step"]).to_pylist()
  read_question = QuestionReader(run)
  rollouts = _by_prompt(run.rollouts(("prompt_id", "prompt", *SHOWN), steps=sorted(steps), prompts=read))
  for step in sorted({first[id_] for id_ in listed}):  # one at a time, since every row repeats the text of its prompt
    texts = run.rollouts(("prompt_id", "prompt"), steps=[step]).group_by("prompt_id", use_threads=False)
    for row in texts.aggregate([("prompt", "first")]).to_pylist():
      entry = prompts[row["prompt_id"]]
      question = read_question(row["prompt_first"], entry["domain"])
      entry["question"] = question if row["prompt_id"] in rollouts else question[:_CUT]
  shown = sum(len(entry["rows"]) for entry in rollouts.values())
  return {
    "notes": _notes(len(prompts), len(listed), len(read), shown, seen.num_rows),
    "columns": list(SHOWN),
    "prompts": [prompts[id_] for id_ in prompts if id_ in listed],
    "rollouts": rollouts,
  }


def _notes(prompts: int, listed: int, read: int, shown: int, rollouts: int) -> list[str]:
  """Returns a sentence for the prompts that the table leaves out, and one for the rollouts that cannot be read."""
  notes = []
  if listed < prompts:
    notes.append(f"The table lists {listed:,} of {prompts:,} prompts, drawn at random.")
  if read < prompts:
    notes.append(
      f"Rollouts of {read:,} of {prompts:,} prompts can be read here ({shown:,} of {rollouts:,} "
      "rollouts), drawn at random; all are in the run's parquet files."
    )
  return notes


def _within(order: Sequence[str], sizes: Mapping[str, int], most: int) -> list[str]:
  """Returns the first ids whose sizes sum to at most `most`, but at least one id."""
  total = list(itertools.accumulate(sizes[id_] for id_ in order))
  return [id_ for id_, spent in zip(order, total, strict=True) if spent <= most] or list(order[:1])


def _by_prompt(table: pa.Table) -> dict[str, dict[str, Any]]:
  found: dict[str, dict[str, Any]] = {}
  for row in table.to_pylist():
    entry = found.setdefault(row["prompt_id"], {"prompt": row["prompt"], "rows": []})
    entry["rows"].append([_short(row[name]) for name in SHOWN])
  return found


def _short(value: Any) -> Any:
  if not isinstance(value, float):
    return value
  return float(f"{value:.4g}") if math.isfinite(value) else str(value)  # JSON has neither NaN nor infinity


def _named(runs: Sequence[RunFiles]) -> dict[str, RunFiles]:
  """Returns the runs by name. A name is the shortest end of the path that tells all runs apart."""
  paths = [str(run.path.resolve() if is_local(run.path) else run.path).split("/") for run in runs]
  for length in range(1, max(map(len, paths)) + 1):
    named = {"/".join(path[-length:]): run for path, run in zip(paths, runs, strict=True)}
    if len(named) == len(runs):
      return named
  raise InputError("--compare: a run is named twice, expected different workdirs")


def _summary(run: RunFiles, others: Sequence[RunFiles]) -> str:
  last, model = run.metrics[-1], run.config["model"]
  facts = {
    "run": str(run.path),
    "base model": model.get("path") or model.get("build") or run.config.get("init_from", ""),
    "steps": f"{len(run.metrics):,}",
    "rollouts spent": f"{last.get('rollouts/spent', 0):,}",
    "stage": str(last["stage"]),
    "domains": ", ".join(run.domains),
  }
  if others:
    facts["compared with"] = ", ".join(str(other.path) for other in others)
  return "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())


def _image(title: str, svg: str) -> str:
  """Returns a figure as an image element. Scripts inside it cannot run, and its ids cannot clash with other figures."""
  return f'<img alt="{html.escape(title)}" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'


def _as_script(data: Mapping[str, Any]) -> str:
  """Returns JSON for a script element. All its text is ASCII, with <, > and & escaped, so that no text can end it."""
  text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
  return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
