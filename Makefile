# make demo and make test are all a newcomer needs; both create .venv from the hash-pinned lock first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test lint stress bench bench-peers docs site lock proto clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "setup: creating $(VENV) from requirements.lock"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "setup: needs Python 3.11 to 3.13, for example: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "setup: this Python has no venv, installing Debian's python3-venv (needs root)" >&2; \
	    apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet \
	  --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet \
	  --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)
	@$(BIN)/amaters demo

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

stress: $(READY)
	$(BIN)/python -m pytest -m "stress or not stress"

bench: $(READY)
	$(BIN)/amaters bench all

bench-peers: $(READY)
	$(BIN)/python tools/peers/run.py

docs: $(READY)
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/conformance.py
	$(BIN)/python tools/tpch.py
	$(BIN)/python -m pytest tests/test_docs.py

site: $(READY)
	@test -x .venv-site/bin/zensical || { $(BIN)/python -m venv .venv-site && \
	  .venv-site/bin/python -m pip install --disable-pip-version-check --quiet \
	  --require-hashes --only-binary :all: -r tools/site/requirements.lock; }
	.venv-site/bin/zensical build --strict -f mkdocs.yml

lock:
	uv pip compile --universal --generate-hashes --no-header \
	  --python-version 3.11 --group dev pyproject.toml -o requirements.lock

proto: $(READY)
	$(BIN)/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src $$(cd src && ls amaters/wire/*.proto)

clean:
	rm -rf $(VENV) .venv-peers .venv-site site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
