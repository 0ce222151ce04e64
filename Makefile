# The verbs of this repository. `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-unit lint fix bench bench-server bench-api lock clean

demo: $(VENV)/installed
	$(BIN)/motorpool demo

# On every core. What shares something stays on one: tests/conftest.py says what, and the order.
# The seed: every worker must list the tests in the same order, also those made from sets.
PYTEST := PYTHONHASHSEED=0 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-dev
	$(PYTEST)

test-unit: $(VENV)/installed-dev
	$(PYTEST) -m "not slow"

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check src tests examples scripts bench
	$(BIN)/ruff check src tests examples scripts bench
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/installed-dev
	$(BIN)/ruff format src tests examples scripts bench
	$(BIN)/ruff check --fix src tests examples scripts bench

bench: $(VENV)/installed-dev
	$(BIN)/python -m bench.up

# Beside KServe's SDK and MLServer, which it installs into a cache; takes some minutes.
bench-server: $(VENV)/installed-dev
	$(BIN)/python -m bench.server

bench-api: $(VENV)/installed-dev
	$(BIN)/python -m bench.api

lock: $(VENV)/installed-dev
	$(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --group dev --group examples --group estimators --group llm --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		-o requirements-dev.lock

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("motorpool needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Editable, so that a change of the source needs no new installation.
$(VENV)/installed: $(VENV)/bin/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install -q -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(BIN)/python -m pip install -q -r requirements-dev.lock
	touch $@
