"""Starts several JAX processes for a test, by default two with four CPU devices each. They always end with the test.

`python -m tests.helpers.multihost CASE '{"argument": ...}' OUT` is one of these processes.
The environment gives its index. It writes the findings of its case to OUT.PROCESS.json.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from srpo_jax.utils import processes as distributed
from tests.helpers.paths import ROOT
from tests.helpers.processes import cpu_devices


def environment(process=0, processes=1, devices=4, port=0):
  """Returns the environment of one of several processes with `devices` CPU devices and a coordinator at `port`."""
  env = cpu_devices(devices)
  if processes > 1:
    group = {"COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "NUM_PROCESSES": str(processes), "PROCESS_ID": str(process)}
    env |= {f"JAX_{name}": text for name, text in group.items()}
  return env


@contextlib.contextmanager
def started(command, logs: Path, *, processes=2, devices=4, arguments=None):
  """Starts processes that each run `command` with their own entry of `arguments`, and yields them.

  Their output goes to LOGS.PROCESS.log.
  """
  held = socket.socket()  # stays bound, so that no other program gets the port before process 0 listens on it
  held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  held.bind(("127.0.0.1", 0))
  port = held.getsockname()[1]
  running = []
  try:
    for i in range(processes):
      with log_of(logs, i).open("wb") as log:
        own = [sys.executable, *command, *(arguments[i] if arguments else [])]
        env = environment(i, processes, devices, port)
        running.append(subprocess.Popen(own, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True))
    yield running
  finally:
    for process in running:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
      process.wait()
    held.close()


def log_of(logs: Path, process: int) -> Path:
  return logs.with_name(f"{logs.name}.{process}.log")


def statuses(running, within_s: float) -> list[int]:
  """Waits for every process to end within `within_s` seconds and returns the exit statuses."""
  ends = time.monotonic() + within_s
  return [process.wait(max(0.1, ends - time.monotonic())) for process in running]


def on_group(case, out: Path, *, processes=2, devices=4, within_s=1200, **arguments):
  """Runs a case on several processes and returns the findings of each."""
  command = ["-m", "tests.helpers.multihost", case, json.dumps(arguments), str(out)]
  with started(command, out, processes=processes, devices=devices) as running:
    found = statuses(running, within_s)
  logs = [log_of(out, i).read_text()[-3000:] for i in range(processes)]
  assert found == [0] * processes, "\n".join(logs)
  return [json.loads(out.with_name(f"{out.name}.{i}.json").read_text()) for i in range(processes)]


def case_exchange():
  """Returns the results of exchanging host values, and the errors that all processes raise when one fails."""
  from srpo_jax.utils.errors import InputError, SharedError

  i, n = distributed.index(), distributed.count()

  def fails_on_one():
    if i == 1:
      raise InputError("rows.jsonl:3: expected a number")
    return i

  def message(action):
    try:
      return action()
    except SharedError as error:
      return str(error)

  order = []
  return {
    "index": [i, n, distributed.is_writer()],
    "gathered": distributed.all_gather({"process": i, "text": "x" * (5 + 3000 * i)}),
    "any": [distributed.any_of(i == 1), distributed.any_of(False)],
    "agreed": distributed.agreed(lambda: i),
    "refused": message(lambda: distributed.agreed(fails_on_one)),
    "from_writer": distributed.from_writer(lambda: order.append(i) or "written"),
    "order": order,
    "same": message(lambda: distributed.check_same({"config.a": "1", "data": "d"})),
    "differ": message(lambda: distributed.check_same({"config.a": "1", "data": f"d{i}"})),
  }


def case_steps(checkpoint, source, folder, mesh, steps):
  """Runs each step separately, from the state that the run `source` had before it.

  Returns:
    For each step, as seen from this process: digests of the parameters before and after, number of devices, row of
    metrics, and position.
  """
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  from srpo_jax.training.loop import train
  from srpo_jax.training.run import Run
  from tests.helpers.runs import toy
  from tests.helpers.sharded import digest

  def whole(tree):
    return jax.tree.map(lambda leaf: np.asarray(multihost_utils.process_allgather(leaf, tiled=True)), tree)

  found = []
  for step in steps:
    workdir = Path(folder) / f"step_{step}"
    distributed.from_writer(lambda step=step, workdir=workdir: begin_at(Path(source), workdir, step))
    sizes = dict(zip(("mesh__data", "mesh__fsdp", "mesh__tensor"), mesh, strict=True))
    config = toy(checkpoint, train__steps=step + 1, checkpoint__every=1, checkpoint__keep=9, **sizes)
    with Run(config, workdir) as run:
      restored = digest(whole(run.start()[0].params))
    rows, saved = [], []
    with Run(config, workdir) as run:
      write, save = run.files.write_metrics, run.save
      run.files.write_metrics = lambda row, write=write, rows=rows: (rows.append(row), write(row))
      run.save = lambda state, at, save=save, saved=saved: (saved.append((state, at)), save(state, at))
      train(run)
    (state, at), (row,) = saved[-1], rows
    times = ("time/", "throughput/")
    found.append(
      {
        "restored": restored,
        "after": digest(whole(state.params)),
        "devices": len(state.params["embed"].sharding.device_set),
        "row": {name: value for name, value in row.items() if not name.startswith(times)},
        "position": at.to_json(),
      }
    )
  return found


def begin_at(source: Path, workdir: Path, step: int) -> None:
  """Copies a run and keeps only the checkpoint of `step`, so that the copy continues from there."""
  shutil.copytree(source, workdir)
  for folder in (workdir / "checkpoints").iterdir():
    if int(folder.name) != step:
      shutil.rmtree(folder)


DOUBLE = {"type": "function", "entry_point": "f", "cases": [{"args": [2], "expected": 4}, {"args": [3], "expected": 6}]}


def case_scoring(responses, samples):
  """Returns the verdicts on given responses in two domains, and the ids of those that this process judged."""
  import types

  import numpy as np

  from srpo_jax.data.encoded import Prompt
  from srpo_jax.rewards.scorer import Scorer
  from srpo_jax.rollout import collector as experience
  from srpo_jax.types import Problem, Rollout

  problems = [
    Problem("m", "math", "What is 6 times 7?", "42"),
    Problem(
      "c", "code", "Write f.", tests={"type": "function", "entry_point": "f", "cases": [{"args": [2], "expected": 4}]}
    ),
  ]
  texts = {(p.id, s): responses[p.domain][s] for p in problems for s in range(samples)}

  class Canned:
    """A tokenizer whose tokens are the indices of the prompt and the sample of a given response."""

    def decode(self, tokens, **_):
      return texts[problems[tokens[0]].id, tokens[1]]

  def sampled(*_, **__):
    for p, problem in enumerate(problems):
      for s in range(samples):
        yield Rollout(
          problem.id, s, np.ones(3, np.int32), np.array([p, s, 0], np.int32), np.zeros(3, np.float32), False
        )

  experience.sample_groups = sampled
  submitted = []
  with Scorer(workers=1) as scorer:
    submit = scorer.submit
    scorer.submit = lambda request: (submitted.append(request.id), submit(request))
    sampler = experience.RolloutSampler(types.SimpleNamespace(), scorer, Canned(), (0,), 8, 0)
    prompts = [Prompt(problem, "User: ?\nAssistant: <think>", np.ones(3, np.int32)) for problem in problems]
    groups, _ = sampler.collect({}, prompts, step=0, purpose=0, samples=samples, temperature=1.0, max_new_tokens=4)
  verdicts = {v.id: [v.correct, v.format, v.reward, v.reason] for group in groups for v in group.verdicts}
  return {"submitted": submitted, "verdicts": verdicts}


if __name__ == "__main__":
  with distributed.joined():
    if sys.argv[1] != "exchange":
      from srpo_jax.utils.cache import enable_compilation_cache

      enable_compilation_cache()
    found = globals()[f"case_{sys.argv[1]}"](**json.loads(sys.argv[2]))
    out = Path(sys.argv[3])
    out.with_name(f"{out.name}.{distributed.index()}.json").write_text(json.dumps(found))
