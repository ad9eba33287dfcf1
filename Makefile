CONF   ?= conf/sample.yaml
ARGS   ?=
MINUTES ?= 10
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run performance dashboard batch schedule ingest strategies verify test test-unit test-real test-faults test-nightly soak coverage bench lint audit check lock clean

help:         ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  CONF=conf/mine.yaml chooses the config, ARGS='trading.cash=50_000' overrides keys of it"

setup: $(VENV)/.run   ## Build .venv from the lock (done by itself before the first run)

run: $(VENV)/.run     ## Backtest CONF (default: conf/sample.yaml, five real US stocks)
	@$(PY) -m pipeline run $(CONF) $(ARGS)

performance: $(VENV)/.run  ## Backtest CONF and keep Dask's performance report of it
	@$(PY) -m pipeline run $(CONF) output.performance=true $(ARGS)

batch: CONF := $(if $(filter file,$(origin CONF)),conf/nightly.yaml,$(CONF))
batch: $(VENV)/.run   ## Make the runs that the batch file CONF names (default: conf/nightly.yaml)
	@$(PY) -m pipeline batch $(CONF) $(ARGS)

schedule: CONF := $(if $(filter file,$(origin CONF)),conf/nightly.yaml,$(CONF))
schedule: $(VENV)/.run  ## Print a systemd service and timer, and a crontab line, for CONF (default: conf/nightly.yaml)
	@$(PY) -m pipeline schedule $(CONF) $(ARGS)

dashboard: $(VENV)/.run  ## Start a cluster with a dashboard for many runs, until Ctrl-C
	@$(PY) -m pipeline dashboard $(CONF) $(ARGS)

ingest: $(VENV)/.run  ## Read the source files of CONF into its bar store
	@$(PY) -m pipeline ingest $(CONF) $(ARGS)

strategies: $(VENV)/.run   ## List the strategies and their options
	@$(PY) -m pipeline strategies

verify: $(VENV)/.run  ## Check the store and the runs of CONF against their checksums
	@$(PY) -m pipeline verify $(CONF) $(ARGS)

test: $(VENV)/.dev    ## Run the tests
	@$(PY) -m pytest -q -n auto --dist worksteal $(ARGS)

test-unit: $(VENV)/.dev  ## Run the tests that need no other process: units and properties
	@$(PY) -m pytest -q -n auto --dist worksteal -m 'not faults and not real and not nightly' $(ARGS)

test-real: $(VENV)/.dev  ## Run the tests on 252 real stocks (in the folder BACKTEST_REAL_DATA)
	@$(PY) -m pytest -q -n auto --dist worksteal -m 'real and not nightly' $(ARGS)

test-faults: $(VENV)/.dev  ## Run the tests that kill, stop, starve and refuse
	@$(PY) -m pytest -q -n auto --dist worksteal -m 'faults and not nightly' $(ARGS)

test-nightly: $(VENV)/.dev  ## Run everything at length: hours (BT_SEED=N repeats the kills of a night)
	@HYPOTHESIS_PROFILE=nightly $(PY) -m pytest -q -n auto --dist worksteal -m '' --timeout 14400 $(ARGS)
	@$(MAKE) --no-print-directory soak

soak: $(VENV)/.dev    ## Run batches for MINUTES (default 10) and see that nothing grows
	@PYTHONPATH=. $(PY) tests/soak.py $(MINUTES)

coverage: $(VENV)/.dev  ## Run the tests measured, the trading loop also without its compiler
	@$(MAKE) --no-print-directory test ARGS='--cov --cov-report= $(ARGS)'
	@NUMBA_DISABLE_JIT=1 $(PY) -m pytest -q -n auto --dist worksteal --cov --cov-append --cov-report= -m 'not real and not nightly' tests/test_kernel.py tests/test_reference.py
	@$(PY) -m coverage report --fail-under=90

bench: $(VENV)/.run benchmarks/.venv/.done  ## Time it beside vectorbt (BACKTEST_REAL_DATA=folder for real bars)
	@PYTHONPATH=. $(PY) benchmarks/bench.py

audit: $(VENV)/.dev   ## Report known weaknesses of the locked packages (asks PyPI; fails nothing)
	@timeout 60 $(PY) -m pip_audit -r requirements.lock --require-hashes --disable-pip --progress-spinner off 2>&1 \
		| awk '/could not be audited/ { skipped++; next } { print } END { if (skipped) print skipped " packages not found on PyPI, or it could not be asked: not audited" }'

lint: $(VENV)/.dev    ## Format, lint, types, import order
	@$(VENV)/bin/ruff format --check . && $(VENV)/bin/ruff check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports

check: lint test      ## Everything a change must pass

lock:                 ## Resolve the dependencies anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		--upgrade pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		--upgrade --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

	uv pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		--upgrade benchmarks/peers.in -o benchmarks/requirements.lock

clean:                ## Remove .venv and the caches here; stores and runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "building $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@echo "$(CURDIR)" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pipeline.pth"

$(VENV)/.run: $(PY) requirements.lock
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(PY) -m compileall -q pipeline strategies
	@echo "compiling the trading loop (once per version)"
	@$(PY) -m pipeline run conf/sample.yaml data.store=$(VENV)/warm/store output.dir=$(VENV)/warm/runs >/dev/null 2>&1 || \
		$(PY) -m pipeline run conf/sample.yaml data.store=$(VENV)/warm/store output.dir=$(VENV)/warm/runs
	@rm -rf $(VENV)/warm
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

benchmarks/.venv/.done: benchmarks/requirements.lock
	@$(PYTHON) -m venv benchmarks/.venv
	@benchmarks/.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@
