# edgetl's commands. `make demo` is the main job, `make test` the default test suite.
PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
# The stamp carries the lock's hash, so a changed lock makes the environment anew.
STAMP := $(VENV)/made-from-$(shell cat requirements.lock pyproject.toml Makefile | sha256sum | cut -c1-16)

.PHONY: env demo test test-all lint docs lock clean help

help:
	@echo "make demo      fine-tune, export, quantize, measure, judge and pack the digits classifier"
	@echo "make test      the default test suite, linters and type checks"
	@echo "make test-all  the same and the slow tests"
	@echo "make env       only the environment (.venv, from requirements.lock)"
	@echo "make lint      ruff, mypy and import-linter"
	@echo "make docs      docs/cli.md and the config schema, generated"
	@echo "make lock      requirements.lock, resolved anew"

env: $(STAMP)

$(STAMP): requirements.lock
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@echo "installing the locked packages into $(VENV) (torch with its CUDA libraries is large)"
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python \
	  --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: env
	$(BIN)/edgetl release examples/digits.toml

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

test-all: lint
	$(BIN)/pytest -m ""

docs: env
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_schema.py

lock: env
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
