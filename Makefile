# Two commands: `make demo` trains the tiny model, `make test` runs the tests. Both set themselves up.

PYTHON ?= python3
BIN := .venv/bin
DEMO := $(BIN)/python -m srpo_jax.launch --config=configs/tiny.py

.PHONY: install demo demo-seeds test test-slow check bench

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/pip || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: install
	$(DEMO) --workdir=runs/demo

demo-seeds: install
	for seed in 0 1 2; do $(DEMO) --workdir=runs/demo-seed-$$seed --config.train.seed=$$seed || exit; done

test: install .venv/.installed-test
	.ci/system-packages
	$(BIN)/python -m pytest -m 'not slow' -n 2

test-slow: install .venv/.installed-test
	.ci/system-packages
	$(BIN)/python -m pytest -m slow

check: install .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy srpo_jax configs benchmarks
	$(MAKE) test

bench: install
	$(BIN)/python benchmarks/workload.py --out runs/bench
	$(BIN)/python benchmarks/step.py --model runs/bench/model --prompts runs/bench/prompts.jsonl --max-prompt-tokens 96
	$(BIN)/python benchmarks/longtail.py --model runs/bench/model
	$(BIN)/python benchmarks/sandbox.py
