# Two commands on a fresh machine with Python 3.11, make and the package registries:
#   make run    the demo: a server, and a page that watches real work happen
#   make test   everything the tests need, then the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= -n 2 --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help run test lint check crash bench peers compare plots versions docs clean

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: $(VENV)/.installed ## the demo, on http://127.0.0.1:4437
	$(BIN)/tailrace demo

test: $(VENV)/.dev $(VENV)/.clients ## everything the tests need, then the tests (TESTS= to choose)
	$(BIN)/pytest -m "not crash" $(TESTS)

lint: $(VENV)/.dev ## style, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint $(VENV)/.clients ## lint, and the tests with line and branch coverage above 90 %
	$(BIN)/coverage erase
	$(BIN)/pytest -m "not crash" $(TESTS) --cov --cov-report=
	$(BIN)/coverage report

crash: $(VENV)/.dev ## kill -9 a server under its clients, CRASH_ROUNDS times (50)
	$(BIN)/pytest -m crash -s tests/crash

BENCHES ?= startup publish replay streams churn drain shutdown generator client decoder cuts drops session_monitor
bench: $(VENV)/.dev ## the benchmarks (BENCHES= to choose); results are kept in benchmarks/results
	cd benchmarks && for scenario in $(BENCHES); do ../$(BIN)/python $$scenario.py || exit 1; done

versions: $(VENV)/.dev ## the streams' tests on the oldest uvicorn we take and some between
	@sh scripts/versions $(BIN)/python

peers: $(VENV)/.dev ## other servers to be compared with, into benchmarks/.peers (needs cc, Node.js, apt-get)
	$(BIN)/python benchmarks/peers/setup.py

SCENARIOS ?= fanout latency idle selections probe stalled storm idle_topics gzip_streams embedded durable_streams
compare: $(VENV)/.dev ## Tailrace and its peers in the same run (SCENARIOS= to choose), then the page of results
	cd benchmarks && for scenario in $(SCENARIOS); do ../$(BIN)/python $$scenario.py || exit 1; done
	$(MAKE) plots

plots: $(VENV)/.dev ## docs/benchmarks.md from the kept comparisons
	$(BIN)/python benchmarks/plots.py

docs: $(VENV)/.dev ## the generated part of the reference
	$(BIN)/python scripts/reference.py

clean: ## what the other targets made
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tailrace needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.clients: scripts/clients tests/conformance/durable_streams/package-lock.json | $(VENV)/.dev
	@sh scripts/clients $(BIN)
	@touch $@
