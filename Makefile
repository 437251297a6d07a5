# Needs `python3` (3.11 or newer) and `make`, nothing else: each target makes .venv, installs the uv that constraints.txt
# pins into it, and lets that uv install what the target needs, every version and hash taken from constraints.txt.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
unexport PYTHONDONTWRITEBYTECODE
# An activated environment elsewhere must not become the one that is filled or used.
unexport VIRTUAL_ENV
unexport PYTHONPATH

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

# An installation is redone when the names or pins of packages change, told by content: Git does not keep times.
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
READY_UV := $(VENV)/.ready-uv-$(KEY)
READY_BASE := $(VENV)/.ready-base-$(KEY)
READY_DEMO := $(VENV)/.ready-demo-$(KEY)
READY_ALL := $(VENV)/.ready-all-$(KEY)
DEMO_EXTRAS := torch,onnx,mlflow,serve
ALL_EXTRAS := $(DEMO_EXTRAS),tensorflow,s3,dev

# --no-build: only wheels are installed, no package's own build script runs (aifctl itself excepted, with hatchling).
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --no-build --compile-bytecode \
	--constraints constraints.txt --build-constraints constraints.txt

PEERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/aifctl/peers
KUSTOMIZE := sigs.k8s.io/kustomize/kustomize/v5@v5.8.1
HELM := helm.sh/helm/v4/cmd/helm@v4.3.1

.PHONY: help demo test e2e lint format cluster bench bench-peers build golden schemas docs constraints \
	install install-base clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(READY_DEMO) ## the whole line on this machine: a YAML file becomes a model that answers over HTTP (no TensorFlow)
	@$(BIN)/python examples/demo.py

test: lint ## lint, then every test
	@$(BIN)/python -m tests.controlplane.binaries || true
	@$(BIN)/python -m tests.argo.binaries || true
	@# A file's tests stay together, since many share what is dear: a trained model, a controller.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(READY_ALL) ## ruff, mypy --strict and the layers between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml

format: $(READY_ALL) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

e2e: $(READY_ALL) ## end-to-end tests on real pods: the cluster of KUBECONFIG, or a node booted from ../shared/node
	@PYTHON=$(BIN)/python tests/e2e/run $(PYTEST_ARGS)

cluster: $(READY_ALL) ## a Kubernetes control plane with simulated nodes to play with, until Ctrl-C (CRDS="argo-workflows kueue" or CRDS=all)
	@$(BIN)/python -m tests.controlplane.serve $(CRDS)

bench: $(READY_ALL) ## speed of start-up and of 1,000 models, beside kustomize and helm where `make bench-peers` built them
	PATH="$(PEERS):$$PATH" $(BIN)/python benchmarks/startup.py
	PATH="$(PEERS):$$PATH" $(BIN)/python benchmarks/fleet.py

bench-peers: ## build kustomize and helm for `make bench` (needs Go)
	GOBIN="$(PEERS)" GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install $(KUSTOMIZE)
	GOBIN="$(PEERS)" GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install $(HELM)

build: $(READY_ALL) ## the wheel and the source archive, into dist/
	$(BIN)/python -m build --no-isolation --outdir dist .

golden: $(READY_ALL) ## write tests/golden anew from examples/specs; look at the diff before you commit it
	$(BIN)/python -m pytest --update-golden -q tests

schemas: $(READY_ALL) ## write schemas/ anew from the spec's models
	$(BIN)/aifctl schema --write schemas

docs: $(READY_ALL) ## write docs/reference and the tables of docs/operations.md anew, from the program itself
	$(BIN)/python docs/generate.py

constraints: $(READY_UV) ## resolve every extra anew into constraints.txt (UPGRADE=1: to the newest versions)
	$(UV) pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --quiet $(if $(UPGRADE),--upgrade) --output-file constraints.txt

install: $(READY_ALL) ## everything, TensorFlow and the tools of development included

install-base: $(READY_BASE) ## aifctl alone, which is all that validate, render and plan need

clean: ## remove what was made here, .venv included
	rm -rf $(VENV) .demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find aifctl tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aifctl needs Python 3.11 or newer; run: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(READY_UV): $(BIN)/python
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt
	@rm -f $(VENV)/.ready-*
	@touch $@

$(READY_BASE): $(READY_UV)
	$(INSTALL) --editable .
	@touch $@

$(READY_DEMO): $(READY_UV)
	$(INSTALL) --editable '.[$(DEMO_EXTRAS)]'
	@touch $@ $(READY_BASE)

$(READY_ALL): $(READY_UV)
	$(INSTALL) --editable '.[$(ALL_EXTRAS)]'
	@touch $@ $(READY_DEMO) $(READY_BASE)
