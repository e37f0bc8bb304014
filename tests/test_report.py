"""The report of a hand-made run: its data, its figures, and the page in a real browser."""

import base64
import dataclasses
import json
import math
import re
import shutil

import numpy as np
import pytest

from srpo_jax.algorithm.history import Outcome, Pool
from srpo_jax.analysis.curves import panels
from srpo_jax.analysis.questions import question_of
from srpo_jax.analysis.reflection import reflection_rates
from srpo_jax.analysis.report import Limits, _named, make_report, prompts_and_rollouts
from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.data.prompts import format_prompt
from srpo_jax.report import main
from srpo_jax.training.workdir import Workdir
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path

TAKE = "document.title = 'taken'"
HOSTILE = f'</script><script>{TAKE}</script><img src=x onerror="{TAKE}"> {{{{title}}}} \u2028'
STEPS, GROUP = 4, 3


def row(step, prompt, sample, correct):
  text = format_prompt(f"What is {prompt}?", "Box it.")
  return {
    "step": step, "stage": 1 + step // 3, "domain": "math", "epoch": step // 2, "prompt_id": prompt, "sample": sample,
    "prompt": text, "response": f"{HOSTILE if prompt == 'p<b>1</b>' else 'plain'} {step}/{sample} </think>",
    "token_ids": [1, 2, 3], "sampler_logprobs": [-0.1] * 3, "n_tokens": 3 + sample, "truncated": sample == 2,
    "format": 1, "correct": correct, "pass_fraction": None, "reason": f"reason {sample}", "language_mix": 0,
    "reward": None if correct is None else correct + 0.1, "advantage": 0.5 - sample,
  }  # fmt: skip


@pytest.fixture
def workdir(tmp_path):
  """Workdir with four steps in two epochs of two prompts. The second prompt is retired after the first epoch."""
  return make_workdir(tmp_path / "run")


def make_workdir(path):
  files = Workdir(path, tensorboard=False)
  (path / "config.json").write_text(json.dumps({"model": {"path": "base", "build": ""}}))
  for step in range(STEPS):
    prompts = ["p<b>1</b>", "p2"] if step < 2 else ["p<b>1</b>"]
    rows = [row(step, p, s, None if s == 2 else int(p == "p2" or s == 1)) for p in prompts for s in range(GROUP)]
    files.write_rollouts(step, rows)
    values = {"reward/mean": 0.1 * step, "math/accuracy": 0.5, "math/length_mean": 4.0, "math/pool_size": 2 - step // 2}
    shares = {"groups/zero_advantage_frac": 0.5, "rollouts/spent": 6 * (step + 1), "policy/entropy": None}
    files.write_metrics({"step": step, "stage": 1 + step // 3} | values | shares)
  files.write_eval({"step": 0, "set": "held & out", "n": 2, "pass@1": 0.25, "greedy": 0.5})
  outcomes = {p: Outcome(6, n, 2, 2, 0.5 * n) for p, n in (("p<b>1</b>", 2), ("p2", 4))}
  pool = dataclasses.replace(Pool("math", ("p<b>1</b>", "p2")), history=outcomes)
  files.write_history(pool, ["p<b>1</b>"], lambda _: 0)
  files.close()
  return path


def block(page):
  """Returns the data that the page's script reads."""
  found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
  assert len(found) == 1
  return json.loads(found[0])


def test_data_matches_the_recorded_run(workdir):
  data = block(make_report(RunFiles(workdir)))
  prompts = {p["id"]: p for p in data["prompts"]}
  assert prompts["p<b>1</b>"]["rates"] == {"0": [2, 4, 6], "1": [2, 4, 6]} and prompts["p<b>1</b>"]["retired"] is None
  assert prompts["p2"] == {
    "id": "p2", "domain": "math", "rates": {"0": [4, 4, 6]}, "retired": 0, "question": "What is p2?"
  }  # fmt: skip
  rows = [dict(zip(data["columns"], values, strict=True)) for values in data["rollouts"]["p<b>1</b>"]["rows"]]
  assert len(rows) == STEPS * GROUP and rows[0]["response"].startswith(HOSTILE)
  assert [r["correct"] for r in rows[:3]] == [0, 1, None] and rows[2]["truncated"] and rows[1]["reward"] == 1.1
  assert rows[2]["reward"] is None and rows[2]["reason"] == "reason 2" and data["notes"] == []


def test_a_prompt_that_a_stage_restored_is_not_retired(workdir):
  files = Workdir(workdir, tensorboard=False)
  pool = Pool("math", ("p2",), epoch=1)
  for epoch, retained in ((1, ["p2"]), (2, [])):
    outcomes = {"p2": Outcome(6, 3, 0, 0, 1.5)}
    files.write_history(dataclasses.replace(pool, epoch=epoch, history=outcomes), retained, lambda _: 0)
    found = {p["id"]: p for p in prompts_and_rollouts(RunFiles(workdir), Limits())["prompts"]}
    assert found["p2"]["retired"] == (None if retained else 2)
  files.close()


def test_large_runs_are_sampled_and_say_so(workdir):
  data = prompts_and_rollouts(RunFiles(workdir), Limits(prompts=1, characters=1))
  assert len(data["prompts"]) == 1 and len(data["rollouts"]) == 1
  assert "1 of 2 prompts" in data["notes"][0] and "of 18 rollouts" in data["notes"][1]


def test_short_rollouts_also_count_towards_the_limit(workdir):
  """The other fields of a rollout take room on the page, however short its response is."""
  data = prompts_and_rollouts(RunFiles(workdir), Limits(characters=3000))
  assert len(data["prompts"]) == 2 and len(data["rollouts"]) == 1 and "of 18 rollouts" in data["notes"][0]
  assert {p["question"] for p in data["prompts"]} == {
    "What is p<b>1</b>?",
    "What is p2?",
  }  # every listed prompt has its question


def test_numbers_that_json_does_not_have(workdir):
  files = Workdir(workdir, tensorboard=False)
  files.write_rollouts(STEPS, [row(STEPS, "p3", 0, 1) | {"advantage": math.nan, "reward": math.inf}])
  files.close()
  data = block(make_report(RunFiles(workdir)))
  (values,) = data["rollouts"]["p3"]["rows"]
  assert [values[data["columns"].index(name)] for name in ("advantage", "reward")] == ["nan", "inf"]


def test_a_run_without_rollouts(workdir):
  shutil.rmtree(workdir / "rollouts")
  data = block(make_report(RunFiles(workdir)))
  assert data["prompts"] == [] and "no rollouts" in data["notes"][0]


def test_runs_get_the_shortest_distinct_names(tmp_path, workdir):
  one, two, three = (make_workdir(tmp_path / name) for name in ("a/run", "b/run", "c/other"))
  assert list(_named([RunFiles(workdir)])) == ["run"]
  assert list(_named([RunFiles(one), RunFiles(three)])) == ["run", "other"]
  assert list(_named([RunFiles(one), RunFiles(two)])) == ["a/run", "b/run"]
  main(["--workdir", str(one), "--compare", str(two), "--compare", str(three)])
  assert f"{two}, {three}</dd>" in (one / "report.html").read_text()
  with pytest.raises(InputError, match="a run is named twice"):
    main(["--workdir", str(one), "--compare", str(one)])


def test_every_rate_of_reflection_has_a_curve():
  shown = {key for panel in panels(["math"]) for key in panel.keys}
  rates = {key for key in reflection_rates([]) if not re.search("per_response_(correct|wrong)$", key)}
  assert rates <= shown and len({panel.title for panel in panels(["math"])}) == len(panels(["math"]))


def test_curves_of_only_the_compared_run_are_drawn(tmp_path, workdir):
  other = make_workdir(tmp_path / "other")
  (workdir / "eval.jsonl").unlink()
  rows = (other / "metrics.jsonl").read_text().replace("math/", "code/")
  (other / "metrics.jsonl").write_text(rows)
  (other / "history/math").rename(other / "history/code")
  (other / "eval.jsonl").write_text((other / "eval.jsonl").read_text().replace("& out", "& out $\\\\frac$"))
  page = make_report(RunFiles(workdir), [RunFiles(other)])
  titles = re.findall('<img alt="([^"]*)"', page)
  assert r"Held-out: held &amp; out $\frac$" in titles and "History resampling: code" in titles


def test_figures_are_images_without_script(workdir):
  other = make_workdir(workdir.parent / "other")
  page = make_report(RunFiles(workdir), [RunFiles(other)])
  figures = [base64.b64decode(code).decode() for code in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)]
  assert len(figures) >= 6 and all(svg.lstrip().startswith("<?xml") and "<script" not in svg for svg in figures)
  assert "://" not in re.sub(r'"data:image[^"]*"', "", page)  # the page fetches nothing


def test_the_question_of_a_prompt():
  assert question_of(format_prompt("User: 1 + 1?\nAssistant: <think>", "")) == "User: 1 + 1?\nAssistant: <think>"
  assert question_of("another template") == "another template"


@pytest.mark.parametrize(
  ("file", "text", "message"),
  [
    ("config.json", "{}", r"config\.json: field model: expected an object"),
    ("metrics.jsonl", '{"step": 0, "stage": 1}\n[1]\n', r"metrics\.jsonl:2: field step: expected a whole number"),
    ("metrics.jsonl", '{"step": 0}\n', r"metrics\.jsonl:1: field stage"),
    ("eval.jsonl", '{"step": 0}\n', r"eval\.jsonl:1: field set: expected text"),
  ],
)
def test_invalid_rows_are_named(workdir, file, text, message):
  (workdir / file).write_text(text)
  with pytest.raises(InputError, match=message):
    main(["--workdir", str(workdir)])


def test_bad_arguments_and_files_are_named(tmp_path, workdir):
  with pytest.raises(InputError, match=r"nothing: no config.json"):
    main(["--workdir", str(tmp_path / "nothing")])
  with pytest.raises(InputError, match="--out: expected an existing folder"):
    main(["--workdir", str(workdir), "--out", str(tmp_path / "no" / "x.html")])
  with pytest.raises(InputError, match="--max-mb: expected a whole number of at least 1, got '0'"):
    main(["--workdir", str(workdir), "--max-mb", "0"])
  (workdir / "rollouts/step_000001.parquet").write_bytes(b"no parquet")
  with pytest.raises(InputError, match=r"step_000001\.parquet: .*expected a parquet file"):
    main(["--workdir", str(workdir)])
  assert not (workdir / "report.html").exists()
  (workdir / "metrics.jsonl").unlink()
  with pytest.raises(InputError, match=r"metrics\.jsonl: no step yet"):
    main(["--workdir", str(workdir)])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  if not shutil.which("chromium") or not shutil.which("chromedriver"):
    pytest.skip("chromium and chromedriver are not installed")
  selenium = pytest.importorskip("selenium.webdriver")
  options = selenium.ChromeOptions()
  options.binary_location = shutil.which("chromium")
  profile = tmp_path_factory.mktemp("profile")
  for flag in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking",
               "disable-component-update", "disable-sync", "no-first-run", f"user-data-dir={profile}"):  # fmt: skip
    options.add_argument(f"--{flag}")
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  driver = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
  yield driver
  driver.quit()


def body_rows(browser, table):
  return [r for r in browser.find_elements("css selector", f"#{table} > tbody > tr")]


def cells(browser, table, column):
  return [r.find_elements("css selector", "td")[column].text for r in body_rows(browser, table)]


def test_in_a_browser(workdir, browser):
  main(["--workdir", str(workdir)])
  browser.get(f"file://{workdir}/report.html")
  assert browser.title == "run"
  assert cells(browser, "prompts", 0) == ["p<b>1</b>", "p2"] and cells(browser, "prompts", 2) == ["2/4", "4/4"]
  assert len(browser.find_elements("css selector", ".figures img")) >= 6
  sizes = [int(image.get_property("naturalWidth")) for image in browser.find_elements("css selector", ".figures img")]
  assert min(sizes) > 100  # the browser decoded each image

  field = browser.find_element("id", "filter")
  field.send_keys("IS P2")  # matches the question
  assert cells(browser, "prompts", 0) == ["p2"] and cells(browser, "prompts", 4) == ["epoch 0"]
  field.clear()
  field.send_keys(" ")
  by_rate = browser.find_elements("css selector", "#prompts th")[2]
  assert by_rate.text == "epoch 0"
  by_rate.click()
  browser.find_elements("css selector", "#prompts th")[2].click()
  assert cells(browser, "prompts", 0) == ["p2", "p<b>1</b>"]

  body_rows(browser, "prompts")[1].click()
  assert browser.find_element("id", "viewed").text == "p<b>1</b>"
  assert len(body_rows(browser, "rollouts")) == STEPS * GROUP
  titles = [head.text.split()[0] for head in browser.find_elements("css selector", "#rollouts th")]
  browser.find_elements("css selector", "#rollouts th")[titles.index("tokens")].click()
  assert cells(browser, "rollouts", titles.index("tokens")) == ["3"] * 4 + ["4"] * 4 + ["5"] * 4
  assert cells(browser, "rollouts", titles.index("correct")) == ["wrong"] * 4 + ["correct"] * 4 + ["not judged"] * 4
  browser.find_element("id", "search").send_keys("reason 1")
  assert len(body_rows(browser, "rollouts")) == STEPS
  body_rows(browser, "rollouts")[0].click()
  shown = browser.find_element("css selector", "#rollouts pre")
  assert "</script><script>" in shown.text and "{{title}}" in shown.text
  assert browser.execute_script("return document.querySelectorAll('#rollouts img, #rollouts script').length") == 0

  # Only rollouts of code have this column.
  assert "tests passed" not in [head.text for head in browser.find_elements("css selector", "#rollouts th")]
  browser.find_element("id", "close").click()
  assert not browser.find_element("id", "viewer").is_displayed()
  assert browser.switch_to.active_element.text.startswith("p<b>1</b>")  # focus is back on the row that was opened

  assert browser.title == "run"  # no text of a model ran as script
  assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.slow
def test_a_hundred_thousand_rollouts(tmp_path, browser):
  """The page of a large run is written, opens and filters. Takes about 20 s."""
  path = make_workdir(tmp_path / "large")
  files = Workdir(path, tensorboard=False)
  rng = np.random.default_rng(0)
  for step in range(STEPS, STEPS + 100):
    prompts = [f"q{i}" for i in rng.integers(0, 8000, 32)]
    words = {"response": "word " * 200, "n_tokens": 250}
    rows = [row(step, p, s, int(rng.random() < 0.5)) | words for p in dict.fromkeys(prompts) for s in range(32)]
    files.write_rollouts(step, rows)
  files.close()
  main(["--workdir", str(path), "--max-mb", "5"])
  assert (path / "report.html").stat().st_size < 20e6
  browser.get(f"file://{path}/report.html")
  assert "drawn at random" in browser.find_element("id", "notes").text
  assert len(body_rows(browser, "prompts")) == 100
  browser.find_element("id", "filter").send_keys("q12")
  assert all(id_.startswith("q12") for id_ in cells(browser, "prompts", 0))
  assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_run_in_an_object_store(tmp_path, store):
  """The report reads the run's files from the store and writes the page there."""
  local = make_workdir(tmp_path / "run")
  remote = as_path("gs://bucket/run")
  for file in local.rglob("*"):
    if file.is_file() and file.name != ".lock":
      (remote / file.relative_to(local).as_posix()).write_bytes(file.read_bytes())
  main(["--workdir", "gs://bucket/run"])
  assert block((remote / "report.html").read_text()) == block(make_report(RunFiles(local)))
