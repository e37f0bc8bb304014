"""Measures peak memory, bytes and seconds of importing, saving and exporting a large checkpoint.

python benchmarks/checkpoints.py --out runs/bench-checkpoints [--layers 18 --hidden 2048 ...]

Makes a Hugging Face folder in the layout of Qwen2.5: several safetensors files with an index, bf16, random weights. The
default shapes are those of the 3B model with an untied head and half of its layers, 4 GB in total. Each of these phases
then runs in its own processes:

import     reads fp32 masters on one device, on eight devices of one process, and on two processes of four devices each
checkpoint saves the masters as a run does
export     writes the checkpoint as a Hugging Face folder, whose files must equal the originals byte for byte

`peak_mb` is the peak resident memory of a process (VmHWM, including mapped files) above its memory before the phase.
`bound_mb` of an import is its local shards plus twice the largest tensor. `asked_mb` is the size of the stored slices
that the import requested. `disk_mb` is the amount that the kernel read from disk with a cold page cache, which consists
of whole pages and readahead.
"""

import argparse
import filecmp
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
IMPORTS = {"one device": (1, 1), "eight devices": (1, 8), "two hosts of four": (2, 4)}  # (processes, devices of each)


def make(folder: Path, options: argparse.Namespace) -> None:
  """Makes a Hugging Face folder of random bf16 weights."""
  from srpo_jax.data.toy.tokenizer import build_tokenizer
  from srpo_jax.model import hf, hf_export, hf_tensors

  heads = options.hidden // 128 if options.hidden >= 128 else 4
  build_tokenizer(folder)
  raw = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
    "vocab_size": options.vocab,
    "hidden_size": options.hidden,
    "intermediate_size": options.intermediate,
    "num_hidden_layers": options.layers,
    "num_attention_heads": heads,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
  }
  (folder / "config.json").write_text(json.dumps(raw, indent=2) + "\n")
  config = hf.read_config(folder)
  rng = np.random.default_rng(0)

  def read(slot: hf_tensors.Slot) -> Iterator[np.ndarray]:
    yield rng.standard_normal(slot.shape, np.float32)

  source, made = folder.with_name("source"), folder.with_name("made")
  shutil.rmtree(source, ignore_errors=True)
  folder.rename(source)
  hf_export.save_weights(read, config, made, source=source, max_shard_bytes=int(options.shard_gb * 1e9))
  made.rename(folder)
  shutil.rmtree(source)


def memory_mb(field: str) -> float:
  """Returns a memory field of /proc/self/status, such as VmRSS or VmHWM, in MiB."""
  return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
  """Runs `work`. Returns its result, its seconds, and its peak memory above the memory before it."""
  Path("/proc/self/clear_refs").write_text("5")  # resets the peak
  before, started = memory_mb("VmRSS"), time.perf_counter()
  result = work()
  seconds = time.perf_counter() - started
  return result, {
    "seconds": round(seconds, 1),
    "before_mb": round(before),
    "peak_mb": round(memory_mb("VmHWM") - before),
  }


def forget(folder: Path) -> None:
  """Drops a folder's files from the page cache."""
  for file in folder.rglob("*"):
    if file.is_file():
      with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load(folder: Path, processes: int, devices: int, process: int, port: int) -> dict[str, Any]:
  """Imports the model as one of `processes` processes with `devices` devices each."""
  import jax
  import jax.numpy as jnp

  from srpo_jax.model import hf, hf_tensors
  from srpo_jax.model.sharding import make_mesh, param_shardings

  if processes > 1:
    jax.distributed.initialize(f"localhost:{port}", processes, process)
  config = hf.read_config(folder)
  total = processes * devices
  mesh = make_mesh(1, total // 2, 2) if total > 1 else None
  shapes = hf.param_shapes(config)
  shardings = param_shardings(shapes, mesh) if mesh else None
  jnp.zeros(1).block_until_ready()
  asked, read = 0, hf._read

  def counting(file: Path, name: str, part: hf_tensors.Part) -> np.ndarray:
    nonlocal asked
    values = read(file, name, part)
    asked += values.nbytes
    return values

  hf._read = counting
  fetched = int(Path("/proc/self/io").read_text().split("read_bytes:")[1].split()[0])
  params, found = measured(lambda: hf.load_params(folder, config, shardings=shardings))
  fetched = int(Path("/proc/self/io").read_text().split("read_bytes:")[1].split()[0]) - fetched
  local = sum(shard.data.nbytes for leaf in jax.tree.leaves(params) for shard in leaf.addressable_shards)
  largest = max(2 * math.prod(slot.stored_shape) for slot in hf.read_family(folder).tensors(config).values())
  return found | {
    "bound_mb": round((local + 2 * largest) / 2**20),
    "local_mb": round(local / 2**20),
    "largest_tensor_mb": round(largest / 2**20),
    "asked_mb": round(asked / 2**20),
    "disk_mb": round(fetched / 2**20),
  }


def checkpoint(folder: Path, workdir: Path) -> dict[str, Any]:
  """Makes the workdir of a run that has saved these weights at step 1."""
  import jax.numpy as jnp

  from configs import base
  from srpo_jax.config import make_config, to_json
  from srpo_jax.model import hf
  from srpo_jax.model.files import COMPANION_FILES, INDEX_FILE
  from srpo_jax.training.checkpoint import Checkpoints
  from srpo_jax.training.learner import TrainState

  raw = base.get_config().to_dict()
  raw["model"]["path"], raw["data"]["train"], raw["train"]["steps"] = str(folder), "none.jsonl", 1
  shutil.rmtree(workdir, ignore_errors=True)
  (workdir / "model").mkdir(parents=True)
  (workdir / "config.json").write_text(to_json(make_config(raw)))
  for name in (*COMPANION_FILES, INDEX_FILE):
    if (folder / name).is_file():
      shutil.copyfile(folder / name, workdir / "model" / name)
  state = TrainState(hf.load_params(folder, hf.read_config(folder)), {"count": jnp.zeros((), jnp.int32)})

  def save() -> None:
    checkpoints = Checkpoints(workdir)
    checkpoints.save(1, state, {})
    checkpoints.close()

  found = measured(save)[1]
  stored = sum(file.stat().st_size for file in (workdir / "checkpoints").rglob("*") if file.is_file())
  return found | {"stored_mb": round(stored / 2**20)}


def export(folder: Path, workdir: Path, out: Path) -> dict[str, Any]:
  """Exports the checkpoint and compares its files with the original ones."""
  from srpo_jax import export
  from srpo_jax.model.files import COMPANION_FILES, INDEX_FILE

  shutil.rmtree(out, ignore_errors=True)
  found = measured(lambda: export.main(["--workdir", str(workdir), "--out", str(out)]))[1]
  names = sorted(file.name for file in folder.iterdir() if file.name in (*COMPANION_FILES, INDEX_FILE))
  names += sorted(file.name for file in folder.glob("*.safetensors"))
  model = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
  same = filecmp.cmpfiles(folder, out, names, shallow=False)[0]
  return found | {"model_mb": round(model / 2**20), "files": len(names), "same_files": len(same)}


def run(phase: str, options: argparse.Namespace, *, processes: int = 1, devices: int = 1) -> dict[str, Any]:
  """Runs a phase in fresh processes and returns the measurements of the process that took the most memory."""
  env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
  env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  command = [sys.executable, __file__, *sys.argv[1:], "--phase", phase]
  place = ["--processes", str(processes), "--devices", str(devices), "--port", str(port)]
  started = [
    subprocess.Popen([*command, *place, "--process", str(i)], env=env, stdout=subprocess.PIPE, text=True)
    for i in range(processes)
  ]
  outputs = [child.communicate()[0] for child in started]
  if any(child.returncode for child in started):
    raise SystemExit(f"{phase}: failed")
  return max((json.loads(text.splitlines()[-1]) for text in outputs), key=lambda found: found["peak_mb"], default={})


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", type=Path, default=Path("runs/bench-checkpoints"))
  parser.add_argument("--layers", type=int, default=18)
  parser.add_argument("--hidden", type=int, default=2048)
  parser.add_argument("--intermediate", type=int, default=11008)
  parser.add_argument("--vocab", type=int, default=151936)
  parser.add_argument("--shard-gb", type=float, default=1.0)
  parser.add_argument("--phase", choices=("make", "import", "checkpoint", "export"), help=argparse.SUPPRESS)
  for name, value in {"processes": 1, "devices": 1, "process": 0, "port": 0}.items():
    parser.add_argument(f"--{name}", type=int, default=value, help=argparse.SUPPRESS)
  options = parser.parse_args()
  model, workdir = options.out.absolute() / "model", options.out.absolute() / "run"
  if options.phase == "make":
    make(model, options)
    print(json.dumps({"peak_mb": 0}))
  elif options.phase == "import":
    print(json.dumps(load(model, options.processes, options.devices, options.process, options.port)))
  elif options.phase == "checkpoint":
    print(json.dumps(checkpoint(model, workdir)))
  elif options.phase == "export":
    print(json.dumps(export(model, workdir, options.out.absolute() / "exported")))
  else:
    shutil.rmtree(model, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    run("make", options)
    results: dict[str, Any] = {}
    for name, (processes, devices) in IMPORTS.items():
      forget(model)
      results[f"import, {name}"] = run("import", options, processes=processes, devices=devices)
    results["checkpoint"] = run("checkpoint", options)
    forget(workdir)
    results["export"] = run("export", options)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
  main()
