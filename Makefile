# Everything runs from a virtual environment in .venv, made the first time it is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SEED   ?= 1

.DEFAULT_GOAL := help
.PHONY: help drill test test-again test-quick test-clients lab soak mutations bench example lint lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Python 3.11 or newer is needed; this is %d.%d. Name another: make PYTHON=python3.12 ..." % v[:2])'
	@echo "Setting up $(VENV), once; about a minute."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

drill: $(STAMP) ## run the default drill: a real PostgreSQL, a migration that breaks, a rollback, a report
	@$(BIN)/toolkit drill run breaking-migration --seed $(SEED)

test: $(STAMP) lint ## lint, types, and all tests: the quick ones, then the others, beside one whole drill at a time
	@$(BIN)/python -m pytest -q -n 2 tests/unit
	@$(BIN)/python -m pytest -n 3 --dist loadfile --durations=15 tests/drills tests/notebooks tests/integration tests/clients

test-again: $(STAMP) ## after `make test` failed: the quick tests, and of the others those that failed, one at a time
	@$(BIN)/python -m pytest -q -n 2 tests/unit
	@$(BIN)/python -m pytest --last-failed tests/drills tests/notebooks tests/integration tests/clients

test-quick: $(STAMP) ## the tests that need no server
	@$(BIN)/python -m pytest tests/unit

test-clients: $(STAMP) ## hold the official Vercel CLI, the real pg-boss and a real browser to it (needs Node.js)
	@$(BIN)/python -m pytest -m clients tests/clients

lab: $(STAMP) ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_OPTIONS)

soak: $(STAMP) ## every scenario, an hour of steady traffic, every cell of the crash matrix as a table: two hours
	@$(BIN)/python -m pytest -m soak tests
	@$(BIN)/python tests/drills/crash_matrix.py

mutations: $(STAMP) ## what verification finds of all that can go wrong, as a table: three minutes
	@$(BIN)/python tests/integration/verify/mutation_table.py

bench: $(STAMP) ## time the detector, drills, backups, restores and migrations, each beside what it is compared with
	@$(BIN)/python -m pytest tests/benchmarks/bench_*.py -q -s -p no:cacheprovider -o addopts= --timeout=1800

example: $(STAMP) ## write reports/example anew from a drill (a picture too, where chromium is there)
	@rm -rf .work/example && mkdir -p .work reports/example
	@$(BIN)/toolkit drill run breaking-migration --seed 1 --out .work/example
	@rm -rf reports/example/figures
	@cp -R $(addprefix .work/example/,postmortem.md postmortem.html score.json figures) reports/example/
	@! command -v chromium >/dev/null || chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
	  --disable-background-networking --user-data-dir="$$PWD/.work/chromium" --window-size=1200,1330 \
	  --screenshot="$$PWD/reports/example/postmortem.png" "file://$$PWD/reports/example/postmortem.html" 2>/dev/null

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lock: $(STAMP) ## pin the newest versions that pyproject.toml admits (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header --no-annotate --upgrade pyproject.toml -o requirements.lock

clean: ## remove what was built; reports stay
	@rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
