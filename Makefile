.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
SCALE ?= 1
SEED ?= 7
MINUTES ?= 30
WORKERS ?= 2
SOAK_SEED ?= 1
ROWS ?= 5000000 20000000
EVENTS ?= 1000000 10000000

.PHONY: help demo stop status clean test soak bench bench-transform figures lint fmt env sample-env lock

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: ## Install, start everything, run the pipeline through Airflow, show the result (SCALE=1 SEED=7)
	@scripts/bootstrap run
	@$(PY) -m lettertrail.demo up --scale $(SCALE) --seed $(SEED)

stop: ## Stop everything the demo started; its data stays
	@if [ -x $(PY) ]; then $(PY) -m lettertrail.demo stop; else echo "nothing was started: there is no .venv"; fi

status: ## Say what the demo runs, and how each copied table stands
	@$(PY) -m lettertrail.demo status

clean: stop ## Stop, and remove the demo's data
	@rm -rf .lettertrail
	@echo "removed .lettertrail (the environment .venv stays; remove it by hand)"

test: ## Install what tests need and run all of them (WORKERS=2)
	@scripts/bootstrap dev
	@$(PY) -m ruff check include dags plugins tests bench
	@$(PY) -m ruff format --check --quiet include dags plugins tests bench
	@$(PY) -m mypy
	@$(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

soak: ## Kill, cut and fill up what copies, at random, and count what was lost (MINUTES=30 SOAK_SEED=1)
	@scripts/bootstrap dev
	@$(PY) -m tests.faults.soak --minutes $(MINUTES) --seed $(SOAK_SEED)

bench: ## Measure the copy beside its peers (ROWS="5000000 20000000"; takes long, wants a quiet machine)
	@scripts/bootstrap dev
	@$(PY) -m bench.extract --rows $(ROWS)

bench-transform: ## Measure what the models cost, at first and every day (EVENTS="1000000 10000000"; takes hours, wants a quiet machine)
	@scripts/bootstrap dev
	@$(PY) -m bench.transform --events $(EVENTS)

figures: ## Measure what pushes cost and withstand, what the inbox bears, how long an unsubscribe takes (an hour)
	@scripts/bootstrap dev
	@$(PY) -m bench.activation
	@$(PY) -m bench.esps
	@$(PY) -m bench.inbox
	@$(PY) -m bench.relay
	@$(PY) -m bench.preferences
	@$(PY) -m bench.erasure

env: ## Write .env for docker compose, with random secrets; pushes stay dry runs
	@python3 scripts/make-env

sample-env: ## Write .env for docker compose with the sample site
	@python3 scripts/make-env sample

lint: ## Check style and types
	@scripts/bootstrap dev
	@$(PY) -m ruff check include dags plugins tests bench
	@$(PY) -m mypy

fmt: ## Format the code
	@scripts/bootstrap dev
	@$(PY) -m ruff format include dags plugins tests bench
	@$(PY) -m ruff check --fix include dags plugins tests bench

lock: ## Pin and hash the requirements anew
	@scripts/bootstrap dev
	@for name in requirements-uv requirements requirements-dev; do \
		.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done
