"""Curates raw sets into one set. The stages run in order, and each leaves files that the next one reads.

sources -> completeness -> normalisation -> rules -> decontamination    one row at a time, by several processes
        -> duplicates -> verification                                   all rows
        -> records, side files, card
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import xxhash
from tqdm import tqdm

from srpo_jax.data.curation import shards, stages, survivors
from srpo_jax.data.curation.candidate import native_row
from srpo_jax.data.curation.card import Tally, write_card
from srpo_jax.data.curation.config import CurateConfig
from srpo_jax.data.curation.eval_sets import items, open_eval_sets
from srpo_jax.data.curation.source import Source, open_source, read
from srpo_jax.data.decontamination import Index
from srpo_jax.data.records_writer import write_records
from srpo_jax.data.row import Row
from srpo_jax.data.sources import FIRST_ROWS
from srpo_jax.utils.cache import cache_dir
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json, replaced

DONE = "curation.json"  # the inputs, the counts and the result; written last
WORK = ".work"
UNLABELLED = "unlabelled"


def curate(config: CurateConfig) -> dict[str, Any]:
  """Curates the sources into `config.output`.

  A killed curation resumes where it stopped. A finished one is not run again.

  Returns:
    The contents of curation.json.

  Raises:
    InputError: a source or evaluation set cannot be read, no row is left, or the folder holds something else.
  """
  output = Path(config.output)
  sources = tuple(open_source(name, one, f"config.sources.{name}") for name, one in config.used.items())
  eval_sources = open_eval_sets(config.eval_sets)
  inputs = {
    "sources": {source.name: _description(source) for source in sources},
    "eval_sets": {source.name: _description(source) for source, _ in eval_sources},
  }
  digest = _digest(config, inputs)
  known = _finished(output, digest)
  if known is not None:
    logging.info("%s is already curated: %d rows", output, known["records"]["n"])
    return known
  found = {source.name: list(items(source, entry.column)) for source, entry in eval_sources}
  for name, entries in found.items():
    inputs["eval_sets"][name]["rows"] = len(entries)
  index = Index(itertools.chain.from_iterable(found.values()))
  logging.info("%d evaluation items to compare with", len(index))
  readers = tuple(stages.reader(s.name, config.sources[s.name], _first_rows(s)) for s in sources)
  work = output / WORK / f"{digest[:16]}-{config.work.shard_rows}"
  work.mkdir(parents=True, exist_ok=True)
  with _timed("rules and decontamination"):
    done = _run_shards(shards.Plan(config, sources, readers, index), work)
  _check_readable(sources, done)
  with _timed("duplicates"):
    unique = survivors.without_duplicates(config, done, work / "duplicates")
  with _timed("verification"):
    checked = survivors.verified(config, unique, work / "verification", cache_dir() / "curate" / "verified.sqlite")
  with _timed("records, side files and card"):
    tally = _write_side_files(done, unique, checked, output)
    result = _write_result(config, output, checked, tally, inputs, digest)
  shutil.rmtree(output / WORK, ignore_errors=True)
  return result


@contextlib.contextmanager
def _timed(stage: str) -> Iterator[None]:
  begin = time.monotonic()
  yield
  logging.info("%s: %.1f s", stage, time.monotonic() - begin)


def _run_shards(plan: shards.Plan, work: Path) -> list[shards.Shard]:
  every = shards.shards(plan, work)
  todo = [shard for shard in every if not shard.folder.is_dir()]
  total = sum(shard.stop - shard.start for shard in every)
  left = sum(shard.stop - shard.start for shard in todo)
  if left < total:
    logging.info("resuming: %d of %d rows are already done", total - left, total)
  with tqdm(desc="rules", total=total, initial=total - left, unit="row", disable=not plan.config.work.progress) as bar:
    for shard in shards.run(plan, todo):
      bar.update(shard.stop - shard.start)
  return every


def _check_readable(sources: Sequence[Source], done: Sequence[shards.Shard]) -> None:
  """Checks that at least one row of every source could be read.

  Raises:
    InputError: no row of a source could be read. Its format is then more likely wrong than all of its rows.
  """
  for number, source in enumerate(sources):
    folders = [shard.folder for shard in done if shard.source == number]
    counts = [read_json(folder / shards.COUNTS) for folder in folders]
    if not sum(count.get("read", 0) for count in counts):
      raise InputError(f"{source.place}: expected at least one row of config.sources.{source.name}, found none")
    if sum(count.get("complete", 0) for count in counts):
      continue
    _, _, line = next(_drops(folders))
    entry = json.loads(line)
    raise InputError(f"{source.place}: no row can be used; row {entry['index']}: {entry['matched']}")


def _write_side_files(done: Sequence[shards.Shard], unique: Path, checked: Path, output: Path) -> Tally:
  """Writes dropped/STAGE.jsonl for every stage, in the order of the sources and their rows, and returns the counts."""
  tally = Tally()
  for shard in done:
    source = shard.folder.name.rpartition("-")[0]
    for name, count in read_json(shard.folder / shards.COUNTS).items():
      if name == "read":
        tally.read[source] += count
      elif name.startswith("changed:"):
        tally.changed[source, name.removeprefix("changed:")] += count
  folder = output / "dropped"
  folder.mkdir(exist_ok=True)
  with contextlib.ExitStack() as stack:
    files = {stage: stack.enter_context(replaced(folder / f"{stage}.jsonl")) for stage in stages.STAGES}
    for stage, _, line in _drops([shard.folder for shard in done]):
      files[stage].write(line)
      tally.drop(stage, json.loads(line))
    for stage, path in ((stages.DUPLICATES, unique), (stages.VERIFICATION, checked)):
      for line in survivors.lines([path / shards.DROPPED]):
        files[stage].write(line)
        tally.drop(stage, json.loads(line))
  return tally


def _write_result(
  config: CurateConfig, output: Path, checked: Path, tally: Tally, inputs: dict[str, Any], digest: str
) -> dict[str, Any]:
  licences = sorted({f"{name}: {source.licence or 'not stated'}" for name, source in config.used.items()})
  if not (checked / shards.KEPT).stat().st_size:
    raise InputError(f"{output}: no row is left; its dropped/ folder names the rules that dropped them")
  records = write_records(
    output / "records",
    _rows(checked, tally),
    name=config.name,
    version=config.version,
    description=config.description,
    licence="; ".join(licences),
  )
  facts = {"n": records.n, "sha256": records.sha256}
  write_card(output, config, tally, inputs, facts)
  result = {
    "name": config.name,
    "version": config.version,
    "digest": digest,
    "records": facts,
    "inputs": inputs,
    "counts": tally.to_json(),
    "config": _semantic_config(config),
  }
  with replaced(output / DONE) as file:
    json.dump(result, file, indent=2, ensure_ascii=False)
    file.write("\n")
  return result


def _rows(checked: Path, tally: Tally) -> Iterator[dict[str, Any]]:
  """Yields the rows in the native schema with distinct ids, and counts them in `tally`."""
  seen: set[int] = set()
  for candidate in survivors.candidates(checked / shards.KEPT):
    row = native_row(candidate)
    key = xxhash.xxh3_64_intdigest(row["id"].encode())
    if key in seen:  # some sets restart the numbering of rows in every part
      row["id"] = f"{row['id']}#{candidate.index}"
      key = xxhash.xxh3_64_intdigest(row["id"].encode())
    seen.add(key)
    tally.kept[candidate.source, row["domain"]] += 1
    tally.difficulty[row["domain"], row["difficulty"] or UNLABELLED] += 1
    if row["domain"] == "code" and candidate.reference is None:
      tally.unverified[candidate.source] += 1
    yield row


def _drops(folders: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
  for line in survivors.lines([folder / shards.DROPPED for folder in folders]):
    yield line.partition("\t")


def _first_rows(source: Source) -> list[Row]:
  """Returns the first readable rows, or an empty row if there is none. The adapters refuse an empty row."""
  rows = (row for _, row, _ in read(source, 0, len(source)) if not isinstance(row, InputError))
  return list(itertools.islice(rows, FIRST_ROWS)) or [{}]


def _description(source: Source) -> dict[str, Any]:
  # Only the file name, so that the card does not depend on where the file lies.
  name = source.place if source.digest.startswith("hub:") else Path(source.place).name
  # For evaluation sets, `curate` replaces "rows" by the number of items.
  return {"file": name, "digest": source.digest, "rows": len(source)}


def _semantic_config(config: CurateConfig) -> dict[str, Any]:
  """Returns the config without fields that do not change the result, and without paths of this machine."""
  fields = dataclasses.asdict(config)
  del fields["output"], fields["work"]
  fields["sources"] = {name: fields["sources"][name] for name in config.used}
  for section in ("sources", "eval_sets"):
    for entry in fields[section].values():
      if Path(entry["path"]).is_file():
        entry["path"] = Path(entry["path"]).name
  del fields["verify"]["workers"]
  return fields


def _digest(config: CurateConfig, inputs: dict[str, Any]) -> str:
  """Returns the digest that identifies a curation: a hash of its config, its inputs and the code of the stages."""
  code = hashlib.sha256()
  for folder in (Path(__file__).parent, Path(__file__).parent.parent):
    for file in sorted(folder.glob("*.py")):
      code.update(file.read_bytes())
  facts = {"config": _semantic_config(config), "inputs": inputs, "code": code.hexdigest()}
  return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _finished(output: Path, digest: str) -> dict[str, Any] | None:
  """Returns the contents of curation.json if the output holds this curation, finished. Returns None otherwise.

  Raises:
    InputError: the folder holds another curation or something else, or it is not a folder.
  """
  if (output / DONE).is_file():
    known = read_json(output / DONE)
    if known.get("digest") != digest:
      raise InputError(f"{output}: holds the result of another config, other inputs or other code; name another folder")
    return known
  if output.exists() and not output.is_dir():
    raise InputError(f"{output}: expected a folder or a path that does not exist")
  if output.is_dir() and not (output / WORK).is_dir() and any(output.iterdir()):
    raise InputError(f"{output}: not empty, and not an unfinished curation; name another folder")
  return None
