# `make demo` trains the tiny model in both stages, `make demo-real` trains a pretrained model, and `make test` runs the
# tests. Each first installs what it needs.

PYTHON ?= python3
ASK_VERSION := import platform; print(platform.python_version())
VERSION := $(shell $(PYTHON) -c '$(ASK_VERSION)')
$(if $(VERSION),,$(error PYTHON=$(PYTHON) does not run, expected a Python 3.11, 3.12 or 3.13))
ifeq ($(MAKELEVEL),0)
$(info Python $(VERSION) in .venv)
endif

BIN := .venv/bin
# These names contain the Python version, so that a .venv of another version is rebuilt.
INSTALLED := .venv/.installed-$(VERSION)
INSTALLED_DEMO := .venv/.installed-demo-$(VERSION)
INSTALLED_TEST := .venv/.installed-test-$(VERSION)
LAUNCH := $(BIN)/python -m srpo_jax.launch
DEMO := $(LAUNCH) --config=configs/tiny.py:staged

REAL := $(LAUNCH) --config=configs/smollm2_135m_cpu.py
COMPARE := $(BIN)/python -m srpo_jax.analysis.before_after

.PHONY: install demo demo-seeds demo-real demo-real-seeds study test test-slow check bench

install: $(INSTALLED)

$(INSTALLED): pyproject.toml setup.py constraints.txt
	test "$$($(BIN)/python -c '$(ASK_VERSION)' 2>&1)" = $(VERSION) || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(INSTALLED_DEMO): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(INSTALLED_TEST): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: install
	$(DEMO) --workdir=runs/demo

demo-seeds: install
	for seed in 0 1 2; do $(DEMO) --workdir=runs/demo-seed-$$seed --config.train.seed=$$seed || exit; done

demo-real: install $(INSTALLED_DEMO)
	$(REAL) --workdir=runs/demo-real
	$(COMPARE) --workdir=runs/demo-real

demo-real-seeds: install $(INSTALLED_DEMO)
	for seed in 0 1 2; do $(REAL) --workdir=runs/demo-real-seed-$$seed --config.train.seed=$$seed && \
	  $(COMPARE) --workdir=runs/demo-real-seed-$$seed || exit; done

# Seven runs with one seed each: the four regimes, and three ways to choose prompts on math only. A rerun resumes.
STUDY := --config.eval.every=20 --config.data.eval_limit=384
BOTH := --config.data.eval=srpo_jax.data.toy.arithmetic:heldout_problems,srpo_jax.data.toy.programs:heldout_programs
RESAMPLE := $(LAUNCH) --config=configs/tiny.py $(STUDY) --config.data.limit=960 --config.train.steps=0 --config.train.rollouts=110000

study: install
	for regime in math code mixed staged; do \
	  $(LAUNCH) --config=configs/tiny.py:$$regime $(STUDY) $(BOTH) --workdir=runs/study/regime-$$regime || exit; done
	$(RESAMPLE) --workdir=runs/study/resample-none --config.history.mode=none
	$(RESAMPLE) --workdir=runs/study/resample-dynamic --config.history.mode=none --config.history.dynamic_sampling=True
	$(RESAMPLE) --workdir=runs/study/resample-history
	$(BIN)/python -m srpo_jax.analysis.study --runs runs/study

# Compiles the tests' many small programs five times as fast, for CPU code that runs slower.
QUICK_COMPILE := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false

test: install $(INSTALLED_TEST)
	.ci/system-packages
	XLA_FLAGS="$(QUICK_COMPILE) $$XLA_FLAGS" $(BIN)/python -m pytest -m 'not slow' -n 2

test-slow: install $(INSTALLED_TEST)
	.ci/system-packages
	$(BIN)/python -m pytest -m slow -n 2

check: install $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy srpo_jax configs benchmarks
	$(MAKE) test

bench: install $(INSTALLED_TEST)
	$(BIN)/python benchmarks/workload.py --out runs/bench
	$(BIN)/python benchmarks/step.py --model runs/bench/model --prompts runs/bench/prompts.jsonl --max-prompt-tokens 96
	$(BIN)/python benchmarks/longtail.py --model runs/bench/model
	$(BIN)/python benchmarks/packing.py --model runs/bench/model
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/curation.py --rows 1000000 --out runs/bench-curation
	$(BIN)/python benchmarks/decontamination.py
	$(BIN)/python benchmarks/records.py
	$(BIN)/python benchmarks/reflection.py
	$(BIN)/python benchmarks/serve.py --model runs/bench/model --requests 64 --clients 16
	$(BIN)/python benchmarks/checkpoints.py --out runs/bench-checkpoints
