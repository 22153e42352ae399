# Everything a newcomer needs is `make demo` and `make test`; both set up what they use.
# PYTHON: which Python makes the environment.   VENV: where it goes.   TEST_FLAGS: passed to pytest.
# ARM64_FLAGS: passed to benchmarks/arm64.py, such as "--artifact fitted".
PYTHON ?= python3
VENV ?= .venv
TEST_FLAGS ?=
ARM64_FLAGS ?=
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check format bench peers triton arm64 soak clean

help:  ## What there is to make
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/fit  ## Fit the built-in detector: table, report and video in demo-output/
	@$(BIN)/python -m edgewright.cli.demo

test: $(VENV)/dev  ## Run the tests, a process a core
	$(BIN)/python -m pytest -n auto --dist loadfile $(TEST_FLAGS)

check: $(VENV)/dev  ## Lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: $(VENV)/dev  ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev  ## Remake the tables of docs/performance.md (needs the test data and a quiet machine)
	$(BIN)/python benchmarks/performance.py
	$(BIN)/python benchmarks/camera_model.py

peers: $(VENV)/dev  ## Build the environment that bench --peers compares with, in .cache/peers (about 2 GB)
	$(BIN)/python benchmarks/peer_environment.py

triton: $(VENV)/dev  ## Build the environment of the Triton client that the tests serve, in .cache/triton-client (170 MB)
	$(BIN)/python -m pytest -q tests/serve/test_triton_client.py

arm64: $(VENV)/fit  ## Try the package on an emulated Raspberry Pi (needs root, mmdebstrap, QEMU and the test data)
	$(BIN)/python benchmarks/arm64.py $(ARM64_FLAGS)

soak: $(VENV)/dev  ## The long form of the checks
	@{ echo "commit $$(git rev-parse --short HEAD), $$(date -u +%F)"; $(BIN)/python -m pytest -m soak --soak --timeout 3600 -s -q; } | tee docs/soak.txt

clean:  ## Remove what was made
	rm -rf $(VENV) .arm64 demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp an extra: the environment is made once, and again when the package's metadata changes.
$(VENV)/fit: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fit]'
	@touch $@

$(VENV)/dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/fit

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing. Run: sudo apt-get install python3 python3-venv" >&2; exit 3; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, got $$($(PYTHON) --version). Run: sudo apt-get install python3.11 python3.11-venv; make PYTHON=python3.11" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "The venv module is missing. Run: sudo apt-get install python3-venv" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
