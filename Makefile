# One command per want. `make demo` and `make test` set up all they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MEASURED := --cov --cov-report=term:skip-covered --cov-fail-under=90
export DO_NOT_TRACK := 1
# A flow run is a process of its own: without compiled modules each would compile the whole project once more.
unexport PYTHONDONTWRITEBYTECODE
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: demo test check docs bench soak parts up down lock

demo: $(VENV)/.ready
	$(BIN)/rounds demo $(ARGS)

# COVERAGE=1 also measures the branches that tests reach, which costs a fifth of the time; .ci/run asks for it.
test: $(VENV)/.ready-dev
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(if $(COVERAGE),$(MEASURED)) $(ARGS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Generated: the page (README.md) of every source, use case, the feature views and the canonical tables.
docs: $(VENV)/.ready
	$(BIN)/python -m flows.docs

bench: $(VENV)/.ready-dev
	$(BIN)/python -m tests.benchmarks $(ARGS)

# Long forms of crash and property tests; resumes from its seed in var/soak.
MINUTES ?= 10
soak: $(VENV)/.ready-dev
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

# What only root can install: Debian packages for optional tests.
parts:
	infra/parts

up: $(VENV)/.ready
	$(BIN)/python -m flows.server up

down:
	$(BIN)/python -m flows.server down

# Generated: the hash-pinned requirements, from pyproject.toml. Needs uv.
LOCK := uv pip compile -q pyproject.toml --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11
lock:
	$(LOCK) -o requirements.txt
	$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt

# The list is complete and pinned by hash, so pip resolves nothing (--no-deps); the project itself is then put on the path.
$(VENV)/.ready: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	touch $@
