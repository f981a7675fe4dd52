# make run    the integration suite on real services     make test   every test
# make check  format, lint, types, layers, then `make test`    make bench  figures beside peers    make soak  the long runs
# Everything is installed into .venv from requirements.lock; nothing else is needed but git, make, Python 3.11+ and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# the second try is for networks whose certificates only the system knows
SYNC = $(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
PROJECTS := packages/realstack/pyproject.toml packages/agent-backend/pyproject.toml
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# the tests start hundreds of interpreters: without bytecode each would compile everything anew
export PYTHONDONTWRITEBYTECODE :=
unexport VIRTUAL_ENV

.PHONY: setup run test check fix lint types layers docs bench soak lock clean

setup: $(STAMP)

# uv itself comes out of the lock file, with its hashes; then uv installs the rest of it
$(STAMP): requirements.lock $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "\n  Try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/^[^ ]*==/p' requirements.lock | sed '1b;/^[^ ]*==/,$$d' > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $(VENV)/uv.txt
	@$(SYNC) 2>$(VENV)/sync.log || $(SYNC) --system-certs || { cat $(VENV)/sync.log; exit 1; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e packages/realstack -e packages/agent-backend
	@touch $(STAMP)

run: setup
	@$(BIN)/realstack run --category integration --real-services

test: setup
	@$(BIN)/python -m pytest -n auto --dist worksteal -q -m "not soak"

check: setup lint types layers
	@$(MAKE) --no-print-directory test

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup
	@$(BIN)/mypy packages/realstack/src packages/agent-backend/src

layers: setup
	@$(BIN)/lint-imports --no-logo

fix: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup
	@$(BIN)/python -m tests.docs.reference

bench: setup
	@$(BIN)/python -m benchmarks

soak: setup
	@$(BIN)/python -m pytest -q -m soak

# the lock names versions and hashes, never an index address
lock: setup
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --quiet --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-package realstack --no-emit-package agent-backend -o requirements.lock

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
