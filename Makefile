# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs, once.
# The rest are doors to noxfile.py, which says what runs in which environment: `.venv/bin/nox --list`.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
NOX := $(RUN)/nox --no-color -s
DEMO := demo

.PHONY: demo test check docs setup test-targets clean

# Everything that the project can do, at the versions that the tests run with.
$(VENV)/.everything: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed; set PYTHON="'
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export,train,serve,otel,batch,dev,docs]'
	touch $@

setup: $(VENV)/.everything

# Export the checkpoint that ships here, prove it, measure it, report, and route a few queries.
demo: $(DEMO)/report/report.html
	@$(RUN)/pointsman inspect $(DEMO)/router
	@echo
	@$(RUN)/pointsman route --artifact $(DEMO)/router \
	  "Hello there!" "What's 5 + 3?" "Thanks for your help" "Turn off the kitchen lights" \
	  "Analyze quarterly sales performance" "Write a comprehensive business plan" \
	  "Can you analyze the quarterly business performance?"
	@echo
	@echo "The report: $(DEMO)/report/report.html"
	@echo "A router of your own, from your log: docs/from-traffic-to-router.md"

$(DEMO)/router/manifest.json: $(VENV)/.everything $(wildcard checkpoints/default-router/*)
	mkdir -p $(DEMO)
	rm -rf $(DEMO)/router
	$(RUN)/pointsman export checkpoints/default-router --output $(DEMO)/router --name default-router

$(DEMO)/report/report.html: $(DEMO)/router/manifest.json
	$(RUN)/pointsman bench $(DEMO)/router --reference checkpoints/default-router --quick --profile --output $(DEMO)/report

test: setup
	$(NOX) tests

# What continuous integration runs.
check: setup
	$(NOX) lint types base tests targets_quick reliability docs

docs: setup
	$(NOX) docs

# Packages under the runtimes that they are for; with RECORD=1 the figures are recorded for the pages.
test-targets: setup $(DEMO)/router/manifest.json
	$(NOX) targets -- $(if $(RECORD),--record)

clean:
	rm -rf $(DEMO) $(VENV) .nox .targets .peers site build dist
