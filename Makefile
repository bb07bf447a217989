# Everything a newcomer runs.  `make demo` and `make test` need nothing done before.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that test: one more than processors, for some tests wait.
TESTERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# What loses to ridge on held-out data is published only with --anyway; the cards say so.
LOSE_TO_RIDGE := co2-lstm co2-stream-gru elnino-attention

# Properties of which every example is an export.
EXPORTS := tests/training/test_parity.py tests/training/classify/test_classifier.py

.PHONY: setup demo test zoo bench bench-device bench-models bench-lengths figures simulate crashes reloads activations fuzz soak nightly publications halfopen lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | sort

setup: $(STAMP) ## make the environment in .venv, with .venv/bin/seqserve

# Compiled on all processors, which pip does on one; some packages hold files for other Pythons.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[train,dev]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

demo: $(STAMP) ## train three models on real data, serve them, forecast; KEEP=0 ends by itself, EPOCHS=3 trains for so long
	$(BIN)/python -m examples.demo

test: $(STAMP) ## the whole suite: linters, types, architecture, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs 2 types tests

.PHONY: types tests
types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP)
	$(BIN)/python -m pytest -q -n $(TESTERS) --maxprocesses 8 --dist worksteal

zoo: $(STAMP) ## make the committed models again
	for recipe in training/recipes/*.toml; do \
		case " $(LOSE_TO_RIDGE) " in *" $$(basename $$recipe .toml) "*) anyway=--anyway ;; *) anyway= ;; esac; \
		$(BIN)/seqserve train $$recipe --models models/zoo --checkpoints checkpoints $$anyway || exit 1; \
	done

bench: $(STAMP) ## requests/s beside ONNX Runtime alone, then steps/s of sessions; needs wrk
	$(BIN)/python -m benchmarks.http
	$(BIN)/python -m benchmarks.streams
	$(BIN)/python -m benchmarks.streams --hidden 256

bench-device: $(STAMP) ## torch, ONNX Runtime and ours by batch; ARGS="--device cuda" on a GPU
	$(BIN)/python -m benchmarks.device $(ARGS)

bench-models: $(STAMP) ## publish the models of the benchmarks
	$(BIN)/python -m benchmarks.models

bench-lengths: $(STAMP) ## mixed lengths beside padding and one by one; no HTTP
	$(BIN)/python -m benchmarks.lengths

figures: $(STAMP) ## train and score the published benchmarks (hours); needs SEQSERVE_DATA
	$(BIN)/python -m benchmarks.figures

.PHONY: overload
overload: $(STAMP) ## up to ten times what a service can do, for two minutes; needs two processors
	$(BIN)/python -m benchmarks.overload $(ARGS)

simulate: $(STAMP) ## the scheduler beside simpler rules, with a virtual clock
	$(BIN)/python -m benchmarks.simulate

crashes: $(STAMP) ## kill services 1,000 times while clients step (40 min); ARGS="--redis" for two on one Redis
	$(BIN)/python -m benchmarks.crashes $(ARGS)

reloads: $(STAMP) ## reload a model 100 times under load; no request may fail (3 min)
	$(BIN)/python -m benchmarks.reloads $(ARGS)

fuzz: $(STAMP) ## 10,000 drawn requests, and no 5xx but a promised 503 (3 min)
	$(BIN)/python -m tests.fuzz.drawn

soak: $(STAMP) ## watch the memory of a service for an hour, then with a planted leak
	$(BIN)/python -m benchmarks.soak --insist $(ARGS)

nightly: $(STAMP) ## what takes minutes: the soak in five, the bound what five minutes can tell
	KEEP=0 $(BIN)/python -m examples.demo
	$(BIN)/python -m pytest -q --hypothesis-profile nightly $(EXPORTS)
	$(BIN)/python -m benchmarks.soak --minutes 5 --warm-up 0.4 --every 2 --bound 120
	$(BIN)/python -m tests.fuzz.drawn
	$(BIN)/python -m benchmarks.reloads
	$(BIN)/python -m benchmarks.activations
	$(BIN)/python -m benchmarks.publications

activations: $(STAMP) ## kill who publishes and activates versions 200 times; one must serve (10 min)
	$(BIN)/python -m benchmarks.activations $(ARGS)

publications: $(STAMP) ## kill publishers of models at every call they make, 200 times
	$(BIN)/python -m benchmarks.publications

halfopen: $(STAMP) ## 10,000 half-open connections beside good clients (40 s); needs wrk
	$(BIN)/python -m benchmarks.halfopen $(ARGS)

lock: $(STAMP) ## write the versions now installed into constraints.txt
	(head -1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//') > constraints.new
	mv constraints.new constraints.txt

clean: ## remove what was made here
	rm -rf $(VENV) demo-output checkpoints build ./*.egg-info
