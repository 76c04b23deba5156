# Run `make` alone to read this file as a list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
RUN := .venv/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)

## First
setup: .venv/ready ## Virtual environment with everything pinned (once)
demo: .venv/ready ## Cameras, brokers, gateway, one report: about a minute after set-up
	$(RUN)/edgewise demo $(ARGS)
doctor: .venv/ready ## What is here, what is missing, and what mends it
	$(RUN)/edgewise doctor $(ARGS)

## The parts, in the order the data takes
up: .venv/ready ## An MQTT broker and Kafka, until Ctrl-C
	$(RUN)/edgewise up $(ARGS)
fleet: .venv/ready ## Publish images to MQTT
	$(RUN)/edgewise fleet $(ARGS)
bridge: .venv/ready ## Carry frames from MQTT to Kafka
	$(RUN)/edgewise bridge $(ARGS)
gateway: .venv/ready ## Classify on the gateway (Keras)
	$(RUN)/edgewise gateway $(ARGS)
cluster: .venv/ready ## Classify on the cluster (Spark, BigDL)
	$(RUN)/edgewise cluster $(ARGS)
ledger: .venv/ready ## Account for every frame of a run
	$(RUN)/edgewise ledger $(ARGS)

## While you work
test: .venv/ready-dev ## Everything but bench and acceptance, in three processes: what CI runs
	$(RUN)/python -m pytest -m "not bench and not acceptance" -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)
unit: .venv/ready-dev ## What needs no broker: seconds
	$(RUN)/python -m pytest tests/unit $(ARGS)
bench: .venv/ready-dev ## Speed as ratios, side by side in one run; wants an idle machine
	$(RUN)/python -m tests.benchmarks $(ARGS)
acceptance: .venv/ready-dev ## The figures of the systems re-created here; minutes
	EDGEWISE_FAULT_FRAMES=20000 $(RUN)/python -m pytest tests/acceptance tests/faults $(ARGS)
references: .venv/ready-dev ## Published models give their published figures (REFERENCE=/path/to/folder)
	@test -n "$(REFERENCE)" || { echo 'edgewise: name the folder that holds them: make references REFERENCE=/path/to/folder' >&2; exit 2; }
	EDGEWISE_REFERENCE="$(REFERENCE)" $(RUN)/python -m pytest tests/acceptance/test_references.py $(ARGS)
compose-check: ## The parts in containers, for real, in steps: build files run scale kill ports (ARGS="podman run")
	compose/try.sh $(ARGS)
two-hosts: .venv/ready ## What a slow uplink between edge and cluster does to each tier; as root (ARGS="2000kbit/50ms/1%")
	$(RUN)/python -m compare.uplink $(ARGS)
train: .venv/ready ## Train a shipped model again: resnet20 in two hours on two cores, NETWORK=cifar_cnn in minutes
	$(RUN)/edgewise models train $(or $(NETWORK),resnet20) $(ARGS)
lint: .venv/ready-dev ## Format, lint, types, imports; changes nothing
	$(RUN)/ruff format --check . && $(RUN)/ruff check . && $(RUN)/mypy && $(RUN)/lint-imports
fix: .venv/ready-dev ## Format and repair what can be repaired
	$(RUN)/ruff format . && $(RUN)/ruff check --fix .
check: lint test ## Exactly CI
clean: ## Remove what set-up and runs made here, saying what that frees
	@du -sch .venv runs training .mypy_cache .ruff_cache .pytest_cache .hypothesis 2>/dev/null || true
	rm -rf .venv runs training .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

help:
	@awk 'BEGIN {FS = ":.*## "} /^## / {print "\n" substr($$0, 4)} \
	  /^[a-z-]+:.*## / {split($$1, t, ":"); printf "  make %-13s %s\n", t[1], $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements.txt requirements-gateway.txt requirements-bigdl.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 11) or sys.platform != "linux")' 2>/dev/null \
	  || { echo 'edgewise: needs Linux and Python 3.11 with venv; found $(PYTHON). Name another: make PYTHON=/path/to/python3.11' >&2; exit 3; }
	"$(PYTHON)" -m venv .venv
	$(RUN)/pip install --disable-pip-version-check -r requirements.txt
	$(RUN)/pip install --disable-pip-version-check --no-deps -r requirements-bigdl.txt
	$(RUN)/pip install --disable-pip-version-check --no-deps -e .
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(RUN)/pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.PHONY: setup demo doctor up fleet bridge gateway cluster ledger test unit bench acceptance references compose-check two-hosts train lint fix check clean help
