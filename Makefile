# Trinity's daily work. `make run` and `make test` need nothing but a Python 3.11+ and this folder.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.trinity-env
ARGS ?=
WORKERS ?= 3
SECTIONS ?=
MINUTES ?= 30

.PHONY: run test test-docker coverage env lint types contracts format bench snapshots soak certify logs logs-json logs-errors lock clean help

run: $(STAMP) ## start the local fleet and open the console on it
	@$(BIN)/trinity $(ARGS)

test: $(STAMP) ## run all tests: first what may share the machine, then what needs it alone
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not alone and not docker and not live_kubernetes" $(ARGS) || test $$? -eq 5
	$(BIN)/pytest -m "alone and not docker and not live_kubernetes" $(ARGS) || test $$? -eq 5

test-docker: $(STAMP) ## the tests that need dockerd: they start one of their own (as root; docker.io, docker-compose, iproute2, busybox-static)
	$(BIN)/pytest -m docker tests/docker tests/unit/deploy/test_compose.py $(ARGS)

coverage: $(STAMP) ## what the tests that need no terminal run of console/state and console/render: all of it, or it fails
	@$(BIN)/python -m coverage run -m pytest -q -rN -p tests.without_terminal tests/unit/console $(ARGS)
	@$(BIN)/python -m coverage report

env: $(STAMP) ## make the environment in .venv from requirements.lock

# uv: the one on PATH, or a copy of our own in .tools (pip's --target is allowed where system installs are refused).
.tools/uv-path:
	@mkdir -p .tools
	@if command -v uv >/dev/null 2>&1; then command -v uv > $@.new; \
	elif python3 -m pip install --quiet --disable-pip-version-check --target .tools/uv uv 2>.tools/error; then \
	  echo "$(CURDIR)/.tools/uv/bin/uv" > $@.new; \
	elif python3 -m venv .tools/venv 2>>.tools/error && .tools/venv/bin/pip install --quiet uv 2>>.tools/error; then \
	  echo "$(CURDIR)/.tools/venv/bin/uv" > $@.new; \
	else cat .tools/error >&2; \
	  echo "uv is missing and could not be fetched: install uv, or a Python with pip or venv, and try again." >&2; exit 1; fi
	@mv $@.new $@

$(STAMP): requirements.lock pyproject.toml | .tools/uv-path
	@uv=$$(cat .tools/uv-path); test -x "$$uv" || { rm -f .tools/uv-path; $(MAKE) .tools/uv-path; uv=$$(cat .tools/uv-path); }; \
	test -x $(BIN)/python || "$$uv" venv --quiet --python '>=3.11,<3.14' $(VENV); \
	"$$uv" pip sync --quiet --python $(BIN)/python requirements.lock && \
	"$$uv" pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

lock: .tools/uv-path ## write requirements.lock anew (pinned, with hashes, no addresses)
	@"$$(cat .tools/uv-path)" pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --group dev --output-file requirements.lock pyproject.toml

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

contracts: $(STAMP) ## import contracts
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff write the format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## run the benchmarks; they print, they never fail
	@for file in tests/bench/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

soak: $(STAMP) ## the console for MINUTES=30 on 1,000 replicas and 5,000 log lines a second; fails where memory grows
	@$(BIN)/python tests/bench/soak.py --minutes $(MINUTES) $(ARGS)

snapshots: $(STAMP) ## take the pictures of every view anew (tests/unit/console/snapshots); then look at the difference
	rm -rf tests/unit/console/snapshots
	TRINITY_SNAPSHOTS=write $(BIN)/pytest -q -n $(WORKERS) tests/unit/console/test_snapshots.py tests/unit/console/test_snapshots_no_color.py

certify: $(STAMP) ## measure everything promised of drills, write tests/certified/<date>.md (SECTIONS=a,b)
	@$(BIN)/python -m tests.certify --sections "$(SECTIONS)" $(ARGS)

logs: $(STAMP) ## follow the replicas' logs
	@$(BIN)/trinity logs --follow

logs-json: $(STAMP) ## the same as JSON lines
	@$(BIN)/trinity logs --follow --json

logs-errors: $(STAMP) ## the replicas' lines of level error
	@$(BIN)/trinity logs --follow --level error

clean: ## remove what was built here (the fleet's state stays)
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache .coverage dist build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
