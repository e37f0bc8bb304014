"""The recipes of launch/: their dry runs, their calls of a fake gcloud, and the arguments that reach the trainer."""

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.helpers.paths import ROOT

LAUNCH = ROOT / "launch"
TPU_VM, JOBSET = str(LAUNCH / "tpu_vm.sh"), str(LAUNCH / "jobset.sh")
NAMED = ["--name", "srpo", "--zone", "us-east5-a"]
WHERE = ["srpo", "--zone=us-east5-a"]
TRAINER = ["--config=configs/stage1.py", "--workdir=gs://bucket/stage1"]
ODD = ['--config.prompt.math=it\'s "so"; $HOME `x` \\boxed{} & *', "--config.data.train=a b,c$$d", "--x=é\n2"]
QUEUED, VM = ["gcloud", "compute", "tpus", "queued-resources"], ["gcloud", "compute", "tpus", "tpu-vm"]
DESCRIBE = [*QUEUED, "describe", *WHERE, "--format=value(state.state)"]


def sh(*command, path=None, **env):
  """Runs a command without any real gcloud and returns it finished. PATH holds only `path` and /usr/bin:/bin."""
  env = os.environ | {"PATH": f"{path or '/nowhere'}:/usr/bin:/bin"} | env
  return subprocess.run([*map(str, command)], capture_output=True, text=True, env=env, cwd="/", timeout=300)


def shown(*command):
  """Returns the commands that a dry run prints, as lists of words."""
  at = command.index("--") if "--" in command else len(command)
  done = sh(*command[:at], "--dry-run", *command[at:])
  assert done.returncode == 0, done.stderr
  return [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]


def create(accelerator, runtime, *more):
  return [
    *[*QUEUED, "create", "srpo", "--node-id=srpo", "--zone=us-east5-a"],
    *[f"--accelerator-type={accelerator}", f"--runtime-version={runtime}", *more],
  ]


def ssh(worker, command):
  return [*VM, "ssh", *WHERE, f"--worker={worker}", f"--command={command}"]


def test_shellcheck():
  program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
  scripts = sorted(LAUNCH.glob("*.sh"))
  assert program and len(scripts) == 5
  done = subprocess.run([program, "--external-sources", *scripts, *(ROOT / ".ci").iterdir()], cwd=ROOT)
  assert done.returncode == 0


@pytest.mark.parametrize(
  ("options", "expected", "chips", "hosts"),
  [
    ([], create("v5p-128", "v2-alpha-tpuv5"), 64, 16),
    (["--topology", "v5p:4x4x8", "--spot"], create("v5p-256", "v2-alpha-tpuv5", "--spot"), 128, 32),
    (["--topology", "v5p:2x2x1", "--reserved"], create("v5p-8", "v2-alpha-tpuv5", "--reserved"), 4, 1),
    (["--topology", "v6e:2x4", "--runtime-version", "r"], create("v6e-8", "r"), 8, 1),
    (
      ["--topology", "v6e:4x4", "--service-account", "a@b"],
      create("v6e-16", "v2-alpha-tpuv6e", "--service-account=a@b"),
      16,
      4,
    ),
  ],
)
def test_create(options, expected, chips, hosts):
  assert shown(TPU_VM, "create", *NAMED, *options) == [expected]
  warned = sh(TPU_VM, "create", *NAMED, *options, "--dry-run").stderr
  assert f"# {chips} chips ({hosts} hosts)" in warned and f"(a day: {24 * chips};" in warned
  assert "tpu_vm.sh delete --name srpo --zone us-east5-a" in warned


def test_each_verb_shows_its_commands():
  assert shown(TPU_VM, "wait", *NAMED) == [DESCRIBE]
  assert shown(TPU_VM, "delete", *NAMED) == [[*QUEUED, "delete", *WHERE, "--force", "--quiet"]]
  assert shown(TPU_VM, "logs", *NAMED, "--worker", "3") == [ssh(3, "tail -n 100 -F srpo_jax/run.log")]
  assert shown(TPU_VM, "stop", *NAMED) == [ssh("all", "bash srpo_jax/launch/worker.sh stop")]
  archive, copy, unpack = shown(TPU_VM, "install", *NAMED, "--model", "gs://b/Qwen 2.5")
  assert archive[:1] + archive[3:] == ["git", "archive", "--format=tar.gz", "--output=/tmp/srpo_jax.tar.gz", "HEAD"]
  assert copy == [*VM, "scp", "/tmp/srpo_jax.tar.gz", "srpo:srpo_jax.tar.gz", "--zone=us-east5-a", "--worker=all"]
  assert shlex.split(unpack[-1])[-3:] == ["srpo_jax/launch/worker.sh", "install", "gs://b/Qwen 2.5"]
  assert shown(TPU_VM, "delete", *NAMED, "--project", "p q")[0][-3:] == ["--project=p q", "--force", "--quiet"]
  again = shown(TPU_VM, "resume", *NAMED, "--spot", "--", *TRAINER)
  verbs = ["describe", "delete", "create", "describe", "scp", "ssh", "ssh"]
  assert [words[4] for words in again if words[0] == "gcloud"] == verbs
  assert again[2] == create("v5p-128", "v2-alpha-tpuv5", "--spot")


def test_odd_values_reach_the_worker_unchanged():
  """Values pass through two shells: one for the printed line, and the worker's, which gets the command from ssh."""
  done = sh(TPU_VM, "start", *NAMED, "--dry-run", "--", *TRAINER, *ODD)
  command = shlex.split(shlex.split(done.stdout)[-1].removeprefix("--command="))
  assert command == ["bash", "srpo_jax/launch/worker.sh", "start", *TRAINER, *ODD]


@pytest.mark.parametrize(
  ("args", "words"),
  [
    ([TPU_VM], "expected a verb"),
    ([TPU_VM, "destroy"], "'destroy'"),
    ([TPU_VM, "create", "--name", "x"], "--zone: missing"),
    ([TPU_VM, "create", "--zone", "z"], "--name: missing"),
    ([TPU_VM, "create", *NAMED, "--topology"], "--topology: expected a value"),
    ([TPU_VM, "create", *NAMED, "--topology", "v5p:4x4"], "three dimensions"),
    ([TPU_VM, "create", *NAMED, "--topology", "v4:2x2x1"], "got 'v4:2x2x1'"),
    ([TPU_VM, "create", *NAMED, "--topology", "v5p:1x1x3"], "multiple of 4 chips"),
    ([TPU_VM, "create", "--name", "a;b", "--zone", "z"], "--name: expected"),
    ([TPU_VM, "create", *NAMED, "--spott"], "--spott: unknown option"),
    ([TPU_VM, "create", *NAMED, "--spot", "--reserved"], "one of --spot and --reserved"),
    ([TPU_VM, "logs", *NAMED, "--worker", "first"], "--worker: expected a number"),
    ([TPU_VM, "install", *NAMED, "--model", "/local"], "--model: expected gs://"),
    ([TPU_VM, "start", *NAMED], "expected -- --config"),
    ([TPU_VM, "resume", *NAMED, "--", "--config=c", "--workdir=runs/x"], "expected --workdir=gs://"),
    ([TPU_VM, "wait", *NAMED, "--poll", "soon"], "--poll: expected seconds"),
    ([JOBSET], "expected a verb"),
    ([JOBSET, "apply", "--name", "x"], "--image: missing"),
    ([JOBSET, "render", "--name", "x", "--image", "i"], "--model-bucket: missing"),
    ([JOBSET, "render", "--name", "x", "--image", "i", "--model-bucket", "b"], "expected -- --config"),
    ([JOBSET, "apply", "--name", "x", "--image", "i", "--model-bucket", "b", "--", *TRAINER, "a\x07"], "control"),
    ([JOBSET, "create-pool", "--name", "x"], "--cluster: missing"),
    ([JOBSET, "delete", "--restarts", "many", "--name", "x"], "--restarts: expected"),
  ],
)
def test_bad_arguments_end_with_one_line(cloud, args, words):
  done = sh(*args, path=cloud.path)
  assert done.returncode == 2 and done.stdout == "" and cloud.calls() == []
  lines = [line for line in done.stderr.splitlines() if not line.startswith("#")]
  assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


class Cloud:
  """A fake gcloud, kubectl and git on PATH. They record their calls and give prepared answers in turn."""

  def __init__(self, folder: Path):
    self.path = folder
    (folder / "answers").mkdir()
    program = f"""#!{sys.executable}
import json, pathlib, sys
here = pathlib.Path({str(folder)!r})
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
given = sys.stdin.read() if words[0] == "kubectl" else ""
with (here / "calls.jsonl").open("a") as out:
  out.write(json.dumps([words, given]) + "\\n")
kind = "describe" if "describe" in words else "status" if words[-1].endswith("worker.sh status") else words[-1][:20]
queue = here / "answers" / kind
left = queue.read_text().splitlines() if queue.exists() else []
if left:
  queue.write_text("\\n".join(left[1:] or left[-1:]))
  if left[0].startswith("ERROR"):
    sys.exit("ERROR: (gcloud) " + left[0][6:])
  print(left[0])
"""
    for name in ("gcloud", "kubectl", "git"):
      (folder / name).write_text(program)
      (folder / name).chmod(0o755)

  def play(self, kind, *answers):
    """Sets the answers to calls of a kind. The last one repeats, and `ERROR text` makes the call fail."""
    (self.path / "answers" / kind).write_text("\n".join(answers))

  def records(self):
    file = self.path / "calls.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

  def calls(self):
    return [words for words, _ in self.records()]

  def verbs(self):
    """Returns the gcloud verbs (create, delete, scp) and the worker.sh verbs of ssh. Status queries are left out."""
    asked = [words for words in self.calls() if words[0] == "gcloud"]
    verbs = [w[4] if w[4] != "ssh" else re.sub(r".*worker\.sh ", "", w[-1]).split()[0] for w in asked]
    return [verb for verb in verbs if verb not in ("describe", "status")]


@pytest.fixture
def cloud(tmp_path):
  (tmp_path / "cloud").mkdir()
  return Cloud(tmp_path / "cloud")


def test_a_dry_run_runs_nothing(cloud):
  for verb in ("create", "wait", "install", "start", "logs", "stop", "resume", "delete"):
    assert sh(TPU_VM, verb, *NAMED, "--dry-run", "--", *TRAINER, path=cloud.path).returncode == 0
  for verb in ("create-pool", "render", "apply", "logs", "delete", "delete-pool"):
    options = ["--name", "x", "--cluster", "c", "--location", "l", "--image", "i", "--model-bucket", "b"]
    assert sh(JOBSET, verb, *options, "--dry-run", "--", *TRAINER, path=cloud.path).returncode == 0
  assert cloud.calls() == []


def test_wait(cloud):
  states = ["WAITING_FOR_RESOURCES", "WAITING_FOR_RESOURCES", "PROVISIONING", "ERROR quota of calls", "ACTIVE"]
  cloud.play("describe", *states)
  done = sh(TPU_VM, "wait", *NAMED, "--poll", "0.01", path=cloud.path)
  assert done.returncode == 0 and cloud.calls() == 5 * [DESCRIBE]
  assert re.findall(r"srpo: (\w+)", done.stderr) == ["WAITING_FOR_RESOURCES", "PROVISIONING", "UNKNOWN", "ACTIVE"]
  for state in ("FAILED", "SUSPENDED", "ERROR NOT_FOUND: no such resource"):
    cloud.play("describe", "ACCEPTED", state)
    done = sh(TPU_VM, "wait", *NAMED, "--poll", "0.01", path=cloud.path)
    assert done.returncode == 1 and "error: srpo: the request failed" in done.stderr


def test_resume_brings_a_preempted_run_to_its_end(cloud):
  states = ["ACTIVE", "ACTIVE", "SUSPENDING", "SUSPENDED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
  cloud.play("describe", *states)
  cloud.play("status", "running", "running", "running", "finished")
  options = [*NAMED, "--spot", "--poll", "0.01", "--model", "gs://b/m"]
  done = sh(TPU_VM, "resume", *options, "--", *TRAINER, path=cloud.path)
  assert done.returncode == 0, done.stderr
  assert cloud.verbs() == ["delete", "create", "scp", "install", "start"]
  assert create("v5p-128", "v2-alpha-tpuv5", "--spot") in cloud.calls()
  starts = [words for words in cloud.calls() if words[-1].startswith("--command=bash srpo_jax/launch/worker.sh start")]
  assert [shlex.split(words[-1])[-2:] for words in starts] == [TRAINER]
  assert "the run has finished" in done.stderr and "tpu_vm.sh delete" in done.stderr


def test_resume_creates_a_missing_slice(cloud):
  cloud.play("describe", "ERROR NOT_FOUND", "ACTIVE")
  cloud.play("status", "running", "finished")
  assert sh(TPU_VM, "resume", *NAMED, "--poll", "0.01", "--", *TRAINER, path=cloud.path).returncode == 0
  assert cloud.verbs() == ["create", "scp", "install", "start"]


def test_resume_starts_a_stopped_trainer_and_gives_up_on_a_broken_one(cloud):
  cloud.play("describe", "ACTIVE")
  cloud.play("status", "stopped", "running", "failed 134", "running", "finished")
  assert sh(TPU_VM, "resume", *NAMED, "--poll", "0.01", "--", *TRAINER, path=cloud.path).returncode == 0
  assert cloud.verbs() == ["stop", "start", "stop", "start"]
  cloud.play("status", "failed 2")
  done = sh(TPU_VM, "resume", *NAMED, "--poll", "0.01", "--", *TRAINER, path=cloud.path)
  assert done.returncode == 2 and "refused its input" in done.stderr
  assert cloud.verbs()[4:] == ["--command=tail"]
  cloud.play("status", "failed 1")
  done = sh(TPU_VM, "resume", *NAMED, "--poll", "0.01", "--", *TRAINER, path=cloud.path)
  assert done.returncode == 1 and "3 times in an hour" in done.stderr
  cloud.play("describe", "SUSPENDED")
  done = sh(TPU_VM, "resume", *NAMED, "--poll", "0.01", "--attempts", "2", "--", *TRAINER, path=cloud.path)
  assert done.returncode == 1 and "given up after 2 attempts" in done.stderr


@pytest.fixture
def worker(tmp_path):
  """Folder of a worker whose trainer records its arguments, and folder of a fake systemd that runs units at once."""
  home, fakes = tmp_path / "worker", tmp_path / "fakes"
  shutil.copytree(LAUNCH, home / "launch")
  (home / ".venv/bin").mkdir(parents=True)
  fakes.mkdir()
  trainer = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
here = pathlib.Path({str(home)!r})
if not (here / "slow").exists():
  (here / "arguments.json").write_text(json.dumps(sys.argv[1:]))
  sys.exit(int((here / "code").read_text()))
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), (here / "saved").touch(), os._exit(0)))
(here / "ready").touch()
time.sleep(60)
"""
  systemd_run = f"""#!{sys.executable}
import os, subprocess, sys
words = sys.argv[1:]
options = list(__import__("itertools").takewhile(lambda word: word.startswith("--"), words))
env = dict(option.removeprefix("--setenv=").split("=", 1) for option in options if option.startswith("--setenv="))
command = [word.replace("$$", "\\0") for word in words[len(options):]]
assert not any("$" in word for word in command), "systemd would expand this"
subprocess.run([word.replace("\\0", "$") for word in command], env=os.environ | env, cwd="/")
"""
  for file, text in {
    home / ".venv/bin/python": trainer,
    fakes / "systemd-run": systemd_run,
    fakes / "systemctl": "#!/bin/sh\nexit 3\n",
    fakes / "sudo": '#!/bin/sh\nexec "$@"\n',
  }.items():
    file.write_text(text)
    file.chmod(0o755)
  return home, fakes


def test_arguments_reach_the_trainer_and_its_status_is_kept(worker):
  home, fakes = worker
  script = home / "launch/worker.sh"
  assert sh(script, "status", path=fakes).stdout == "new\n"
  for code, status in {0: "finished", 2: "failed 2", 134: "failed 134"}.items():
    (home / "code").write_text(str(code))
    assert sh(script, "start", *TRAINER, *ODD, path=fakes).returncode == 0
    assert json.loads((home / "arguments.json").read_text()) == ["-m", "srpo_jax.launch", *TRAINER, *ODD]
    assert sh(script, "status", path=fakes).stdout == status + "\n"
  done = sh(script, "dance", path=fakes)
  assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_sigterm_reaches_the_trainer_and_is_not_a_success(worker):
  home, _ = worker
  (home / "slow").touch()
  env = os.environ | {"PYTHON": str(home / ".venv/bin/python"), "STATUS_FILE": str(home / "exit_status")}
  running = subprocess.Popen([home / "launch/run.sh", *TRAINER], env=env)
  for _ in itertools.count():
    if (home / "ready").exists():
      break
    assert running.poll() is None
    time.sleep(0.05)
  running.send_signal(signal.SIGTERM)
  assert running.wait(timeout=300) == 75
  assert (home / "saved").exists() and (home / "exit_status").read_text() == "75\n"


def rendered(*options, arguments=TRAINER):
  named = ["--name", "srpo", "--image", "r/i:1", "--model-bucket", "gs://b"]
  done = sh(JOBSET, "render", *named, *options, "--", *arguments)
  assert done.returncode == 0, done.stderr
  return done.stdout, yaml.safe_load(done.stdout)


@pytest.mark.parametrize(
  ("slice_", "hosts", "each", "accelerator"),
  [
    ("v5p:4x4x4", 16, 4, "tpu-v5p-slice"),
    ("v5p:4x4x8", 32, 4, "tpu-v5p-slice"),
    ("v5p:2x2x1", 1, 4, "tpu-v5p-slice"),
    ("v6e:2x4", 1, 8, "tpu-v6e-slice"),
  ],
)
def test_the_manifest(slice_, hosts, each, accelerator):
  odd = ["${NAME}", ODD[0], "tab\there\nand a line", 'back\\slash "quoted"', "é"]
  text, found = rendered("--topology", slice_, "--restarts", "7", arguments=[*TRAINER, *odd])
  assert (found["apiVersion"], found["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
  assert found["metadata"]["name"] == "srpo" and found["spec"]["failurePolicy"]["maxRestarts"] == 7
  (job,) = found["spec"]["replicatedJobs"]
  spec = job["template"]["spec"]
  assert (job["replicas"], spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, hosts, hosts, 0)
  pod = spec["template"]["spec"]
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": accelerator,
    "cloud.google.com/gke-tpu-topology": slice_.partition(":")[2],
  }
  assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] >= 60
  (container,) = pod["containers"]
  assert container["args"] == [*TRAINER, *odd] and container["command"] == ["launch/run.sh"]
  assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": each}
  assert container["image"] == "r/i:1"
  assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
  assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "b"
  # The rules name this container and do not retry bad input (exit status 2).
  assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"] == {
    "containerName": container["name"], "operator": "In", "values": [2]
  }  # fmt: skip
  assert f"{hosts * each} chips each hour" in text


def test_apply_gives_kubectl_the_manifest(cloud):
  options = ["--name", "srpo", "--image", "r/i:1", "--model-bucket", "gs://b"]
  assert sh(JOBSET, "apply", *options, "--", *TRAINER, path=cloud.path).returncode == 0
  ((words, given),) = cloud.records()
  assert words == ["kubectl", "apply", "--filename=-"] and given == rendered()[0]
  dry = sh(JOBSET, "apply", *options, "--dry-run", "--", *TRAINER).stdout
  assert dry == "kubectl apply --filename=-\n" + given
  (pool,) = shown(JOBSET, "create-pool", "--name", "srpo", "--cluster", "c", "--location", "us-east5", "--spot")
  assert "--node-locations" not in " ".join(pool)
  (zoned,) = shown(JOBSET, "create-pool", "--name", "s", "--cluster", "c", "--location", "l", "--zone", "us-east5-a")
  assert "--node-locations=us-east5-a" in zoned
  assert pool[:5] == ["gcloud", "container", "node-pools", "create", "srpo"]
  assert set(pool[5:]) == {
    *["--cluster=c", "--location=us-east5", "--machine-type=ct5p-hightpu-4t", "--tpu-topology=4x4x4"],
    *["--num-nodes=16", "--scopes=cloud-platform", "--spot"],
  }


def test_the_image_copies_only_existing_files():
  lines = (LAUNCH / "Dockerfile").read_text().splitlines()
  sources = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
  assert sources and all((ROOT / source).exists() for source in sources)


def test_the_commands_of_the_readme_are_accepted():
  """Every launch/*.sh command in launch/README.md is accepted unchanged."""
  text = (LAUNCH / "README.md").read_text().replace("\\\n", " ")
  commands = [shlex.split(line) for line in re.findall(r"^    (launch/\w+\.sh .*)$", text, re.MULTILINE)]
  assert {command[1] for command in commands if "tpu_vm" in command[0]} == {
    "create", "wait", "install", "start", "logs", "resume", "stop", "delete"
  }  # fmt: skip
  for script, *words in commands:
    at = words.index("--") if "--" in words else len(words)
    done = sh(ROOT / script, *words[:at], "--dry-run", *words[at:])
    assert done.returncode == 0, (words, done.stderr)
