# Everything runs in a private environment, .venv; `make help` lists what there is to do.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
HAS_VENV := $(PYTHON) -c 'import ensurepip' 2>/dev/null
APT := DEBIAN_FRONTEND=noninteractive apt-get -qq
AWS := $(VENV)/aws
AWSCLI := awscli==1.46.3
# Three, as tests also wait for loads that last their seconds: 15:07 in place of 17:32 on two cores.
IN_PARALLEL := --numprocesses=3 --dist=loadgroup
TIMES ?= 10
SECONDS ?= 60
MAY_INSTALL := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null

# The tests start many processes, and none should compile the package again.
unexport PYTHONDONTWRITEBYTECODE

# $(READY) is written last and names the checkout, so an interrupted installation has none and that
# of a folder which was moved, or whose Python is gone, does not count: both are made again.
$(shell [ "$$(cat $(READY) 2>/dev/null)" = '$(CURDIR)' ] && $(BIN)/python -c '' 2>/dev/null \
	|| rm -f $(READY))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: $(READY) ## one experiment on this machine: table and report
	@$(BIN)/workbench demo

.PHONY: lab
lab: $(READY) ## the notebooks in JupyterLab
	@$(BIN)/workbench lab notebooks

.PHONY: site
site: $(READY) ## the site, from notebooks that the tests have executed: site/_build/html
	@$(BIN)/python site/build.py

.PHONY: test
test: $(READY) style browser aws ## lint, types, layers, and every test with coverage
	@nice $(BIN)/mypy & types=$$!; \
	$(BIN)/python -m pytest $(IN_PARALLEL) --durations=25 --cov --cov-report=term; tests=$$?; \
	if [ $$tests = 1 ]; then \
	     echo 'What failed is tried once more, with nothing beside it. What passes now is to be mended:'; \
	     $(BIN)/python -m pytest --last-failed --last-failed-no-failures=none --quiet -rap \
	          && $(BIN)/coverage report --format=total; tests=$$?; \
	fi; \
	wait $$types || { echo 'mypy found errors: they stand above the tests.' >&2; exit 1; }; \
	exit $$tests

.PHONY: flaky
flaky: $(READY) browser aws ## every test TIMES times (10) on a busy machine, and which fail
	@trap 'kill $$loops' EXIT; trap 'exit 130' INT TERM; loops=; failed=; \
	for _ in 1 2; do nice sh -c 'while :; do :; done' & loops="$$loops $$!"; done; \
	for round in $$(seq $(TIMES)); do \
	     echo "Round $$round of $(TIMES)"; \
	     $(BIN)/python -m pytest $(IN_PARALLEL) --quiet $(TESTS) || failed="$$failed $$round"; \
	done; \
	[ -z "$$failed" ] || { echo "Tests failed, named above, in rounds$$failed." >&2; exit 1; }

.PHONY: lint
lint: style ## ruff, mypy and the layers of imports
	@$(BIN)/mypy

.PHONY: style
style: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(READY) ## let ruff fix and format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: moto
moto: $(READY) ## moto's own tests against a local cloud, half an hour; some: make moto ONLY="s3"
	@$(BIN)/python tests/moto_suite/run.py $(ONLY)

.PHONY: clients
clients: $(READY) ## outside clients on a local cloud, ten minutes; some: make clients ONLY="s3fs boto3"
	@$(BIN)/python -m tests.clients.run $(ONLY)

.PHONY: fuzz
fuzz: $(READY) ## damaged input for each parser, SECONDS (60) of each, with a fresh SEED
	@$(BIN)/python -W ignore -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(PARSERS)

.PHONY: bench
bench: $(VENV)/.bench ## measure the workbench itself, beside bare ONNX Runtime, LoadGen, SimPy and River
	@$(BIN)/python tests/benchmarks/run.py

.PHONY: constraints
constraints: python ## write constraints.txt anew, with the newest versions
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && $(PYTHON) -m venv "$$new" && \
	"$$new/bin/python" -m pip --quiet install -e '.[dev,bench]' && \
	{ sed '/^#/!d' constraints.txt; \
	  "$$new/bin/python" -m pip freeze --exclude-editable; } > "$$new/pins" && \
	cp "$$new/pins" constraints.txt

.PHONY: lesson-slides
lesson-slides: $(READY) ## slides of the lessons, as pages and PDF, into reports/slides
	@$(BIN)/workbench lesson --slides reports/slides --pdf

.PHONY: lesson-nbgrader
lesson-nbgrader: $(READY) ## the lessons as nbgrader takes them, into reports/nbgrader
	@$(BIN)/workbench lesson --nbgrader reports/nbgrader

.PHONY: clean
clean: ## remove the environment and everything made by the tools
	@rm -rf $(VENV) build dist *.egg-info reports site/_build .executed .screenshots .coverage* .hypothesis .*_cache
	@find workbench data tests -name __pycache__ -prune -exec rm -rf {} +

# --- the environment --------------------------------------------------------------------------

$(READY): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory python
	@if [ -f $@ ]; then rm $@; else $(PYTHON) -m venv --clear $(VENV); fi
	@echo 'Installing into $(VENV): some minutes the first time.'
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@echo '$(CURDIR)' > $@

$(VENV)/.bench: $(READY)
	@$(PIP) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

.PHONY: python
python:
	@$(HAS_VENV) || { $(MAY_INSTALL) && $(APT) update && \
	     $(APT) install --no-install-recommends python3 python3-venv >/dev/null && $(HAS_VENV); } \
	|| { echo 'Needs python3 and python3-venv: apt-get install python3 python3-venv'; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Needs Python 3.11 or newer, got $$($(PYTHON) --version)." \
	     'Name another one: make PYTHON=python3.13'; exit 1; } >&2

# The AWS command line has an environment of its own: it does not get on with our versions.
.PHONY: aws
aws: $(READY)
	@[ -f '$(AWS)/.$(AWSCLI)' ] || { echo 'Installing the AWS command line for its test.' && \
	     $(PYTHON) -m venv --clear $(AWS) && $(AWS)/bin/python -m pip --quiet --retries 1 \
	     --disable-pip-version-check install '$(AWSCLI)' && touch '$(AWS)/.$(AWSCLI)'; } \
	|| { rm -rf $(AWS); echo 'It cannot be had: its test will be skipped.'; } >&2

.PHONY: browser
browser: $(READY)
	@$(BIN)/python tests/browser.py 2>/dev/null \
	|| { $(MAY_INSTALL) && echo 'Installing Chromium for the browser tests.' && $(APT) update && \
	     $(APT) install --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || true
	@$(BIN)/python tests/browser.py || true
