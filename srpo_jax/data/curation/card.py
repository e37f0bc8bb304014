"""Data card of a curation, in Markdown: the inputs, the rows that each rule dropped, and the result.

The same input gives the same bytes.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srpo_jax.data.curation.config import NONE, CurateConfig
from srpo_jax.data.curation.stages import STAGES
from srpo_jax.data.difficulty import difficulty_rank
from srpo_jax.utils.fields import names
from srpo_jax.utils.jsonl import replaced
from srpo_jax.utils.text import visible_line

EXAMPLES = 3  # examples per rule
_SHOWN = 160  # longest excerpt of a question, in characters
PICTURE = "difficulty.png"


@dataclasses.dataclass
class Tally:
  """Counts of a curation. The pipeline fills them and the card shows them."""

  read: Counter[str] = dataclasses.field(default_factory=Counter)  # source -> rows
  changed: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)  # (source, change) -> rows
  dropped: Counter[tuple[str, str, str]] = dataclasses.field(default_factory=Counter)  # (source, stage, rule) -> rows
  kept: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)  # (source, domain) -> rows
  difficulty: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)  # (domain, label) -> rows
  unverified: Counter[str] = dataclasses.field(default_factory=Counter)  # source -> code rows without a reference
  examples: dict[tuple[str, str], list[dict[str, Any]]] = dataclasses.field(default_factory=dict)

  def drop(self, stage: str, entry: Mapping[str, Any]) -> None:
    """Counts a row of a side file and keeps it as an example while its rule has fewer than EXAMPLES."""
    self.dropped[entry["source"], stage, entry["rule"]] += 1
    known = self.examples.setdefault((stage, entry["rule"]), [])
    if len(known) < EXAMPLES:
      known.append(dict(entry))

  def to_json(self) -> dict[str, Any]:
    """Returns the counts by source, stage and rule, in a fixed order."""
    by_source: dict[str, Any] = {}
    for source in self.read:
      stages: dict[str, dict[str, int]] = {stage: {} for stage in STAGES}
      for (name, stage, rule), count in sorted(self.dropped.items()):
        if name == source:
          stages[stage][rule] = count
      by_source[source] = {
        "read": self.read[source],
        "changed": {change: n for (name, change), n in sorted(self.changed.items()) if name == source},
        "dropped": stages,
        "kept": {domain: n for (name, domain), n in sorted(self.kept.items()) if name == source},
        "code_without_reference": self.unverified[source],
      }
    return by_source


def write_card(
  folder: Path, config: CurateConfig, tally: Tally, inputs: Mapping[str, Mapping[str, Any]], records: Mapping[str, Any]
) -> None:
  """Writes card.md and its chart into `folder`.

  Args:
    folder: the output folder.
    config: the configuration of the curation.
    tally: the counts of the curation.
    inputs: `sources` and `eval_sets`, each a mapping of name -> {file, digest, rows}.
    records: `n` and `sha256` of the records.
  """
  draw_difficulty(tally.difficulty, folder / PICTURE)
  with replaced(folder / "card.md") as file:
    file.write("\n".join(_card(config, tally, inputs, records)) + "\n")


def draw_difficulty(difficulty: Mapping[tuple[str, str], int], file: Path) -> None:
  """Writes a PNG with a bar chart of rows by difficulty label, one panel per domain."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  domains = sorted({domain for domain, _ in difficulty}) or ["math"]
  figure = Figure(figsize=(7, 2.6), dpi=110, layout="constrained")
  for place, domain in enumerate(domains, start=1):
    axes = figure.add_subplot(1, len(domains), place)
    labels = sorted({label for name, label in difficulty if name == domain}, key=difficulty_rank) or ["none"]
    bars = axes.bar(labels, [difficulty.get((domain, label), 0) for label in labels], color="#3b6ea5")
    axes.bar_label(bars, fontsize=8)
    axes.set_title(f"{domain}: rows by difficulty", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.tick_params(axis="x", rotation=30 if len(labels) > 3 else 0)
    axes.set_xlim(-0.6, max(len(labels), 3) - 0.4)  # keeps a single bar from filling the panel
    axes.margins(y=0.15)
  # Without the software version in the metadata, the same counts give the same bytes.
  FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def _card(
  config: CurateConfig, tally: Tally, inputs: Mapping[str, Mapping[str, Any]], records: Mapping[str, Any]
) -> list[str]:
  lines = [f"# {config.name} {config.version}", ""]
  lines += [config.description, ""] if config.description else []
  lines += [f"{records['n']:,} rows. SHA-256 of the records: `{records['sha256']}`", "", "## Sources", ""]
  rows = []
  for name, source in config.used.items():
    entry = inputs["sources"][name]
    kept = sum(n for (s, _), n in tally.kept.items() if s == name)
    rows.append([name, entry["file"], source.licence or "not stated", f"{tally.read[name]:,}", f"{kept:,}",
                 f"`{entry['digest']}`"])  # fmt: skip
  lines += _table(["source", "read from", "licence", "rows", "kept", "contents"], rows)
  lines += ["", "## Rows dropped, by stage and source", ""]
  rows = []
  for stage in STAGES:
    counts = [sum(n for (s, t, _), n in tally.dropped.items() if (s, t) == (name, stage)) for name in config.used]
    rows.append([stage.replace("_", " "), *(f"{count:,}" for count in counts), f"{sum(counts):,}"])
  kept_counts = [sum(n for (s, _), n in tally.kept.items() if s == name) for name in config.used]
  rows.append(["**kept**", *(f"{count:,}" for count in kept_counts), f"{sum(kept_counts):,}"])
  lines += _table(["stage", *config.used, "all"], rows)
  lines += ["", "Every dropped row stands in `dropped/STAGE.jsonl` with its rule and what the rule matched.", ""]
  lines += _changes(config, tally)
  lines += _evaluation(config, tally, inputs)
  lines += _verification(config, tally)
  lines += ["## Difficulty", "", f"![rows by difficulty]({PICTURE})", ""]
  lines += ["## Rules, with what they dropped", ""]
  order = {stage: place for place, stage in enumerate(STAGES)}
  for (stage, rule), examples in sorted(tally.examples.items(), key=lambda item: (order[item[0][0]], item[0][1])):
    total = sum(n for (_, s, r), n in tally.dropped.items() if (s, r) == (stage, rule))
    lines += [f"### {stage.replace('_', ' ')}: {rule} ({total:,})", ""]
    lines += [_example(entry) for entry in examples] + [""]
  return lines[:-1]


def _changes(config: CurateConfig, tally: Tally) -> list[str]:
  changes = sorted({change for _, change in tally.changed})
  if not changes:
    return []
  rows = [[change, *(f"{tally.changed[name, change]:,}" for name in config.used)] for change in changes]
  return ["Questions that were changed, not dropped:", "", *_table(["change", *config.used], rows), ""]


def _evaluation(config: CurateConfig, tally: Tally, inputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
  lines = ["## Evaluation sets compared with", ""]
  rows = []
  for name, entry in config.eval_sets.items():
    if entry.path == NONE:
      rows.append([name, "**not compared with**", "", "", ""])
      continue
    known = inputs["eval_sets"][name]
    hits = sum(n for (_, stage, rule), n in tally.dropped.items() if (stage, rule) == ("decontamination", name))
    rows.append([name, known["file"], f"{known['rows']:,}", f"{hits:,}", f"`{known['digest']}`"])
  if not rows:
    return [*lines, "None.", ""]
  return [*lines, *_table(["set", "read from", "items", "rows dropped", "contents"], rows), ""]


def _verification(config: CurateConfig, tally: Tally) -> list[str]:
  lines = ["## Verified", ""]
  lines.append(f"- Gold answers are read as values and judged equal to themselves: {_yes(config.verify.gold)}.")
  lines.append(f"- Reference programs pass twice and the empty program fails: {_yes(config.verify.programs)}.")
  for unverified, count in sorted(tally.unverified.items()):
    lines.append(f"- {count:,} code rows of {unverified} have no reference program: only the empty one was run.")
  for name, source in config.used.items():
    if source.min_tests:
      lines.append(
        f"- Rows of {name} may have {source.min_tests} tests; of others at least {config.rules.min_tests} are asked."
      )
  lines.append(f"- Modules that a reference may import: {', '.join(names(config.rules.imports))}.")
  return [*lines, ""]


def _yes(done: bool) -> str:
  return "yes" if done else "**no**, by the config"


def _example(entry: Mapping[str, Any]) -> str:
  row = entry["row"]
  question = row.get("question") if isinstance(row, dict) else row
  question = question if isinstance(question, str) and question else json.dumps(row, ensure_ascii=False)
  about = "".join(f", {key} {entry[key]}" for key in ("eval_id", "share", "of") if key in entry)
  place = entry["id"] or f"{entry['source']} row {entry['index']}"
  return f"- `{_inline(entry['matched'])}`{about} in {place}: {_escaped(_cut(question))}"


def _cut(text: str) -> str:
  return visible_line(text, _SHOWN)


def _inline(text: str) -> str:
  return _cut(text).replace("`", "'")


def _escaped(text: str) -> str:
  """Escapes Markdown and HTML, so that a question shows as plain text."""
  return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|$!~" else c for c in text)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
  def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

  return [line(head), "| " + " | ".join("---" for _ in head) + " |", *(line(row) for row in rows)]
