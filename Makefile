# Florin's commands. `make help` lists them; each sets up what it needs by itself.
#   PYTHON=python3.12   which Python the virtual environment is made with
#   PORT=8100           where `make run` serves (the sandbox provider listens on PORT + 10, live status on PORT + 30)
#   ONCE=1              `make run` ends after the sample payment, with its status
#   WORKERS=3           how many test processes run at once

PORT ?= 8000
WORKERS ?= 3
PYTHON_BIN := .venv/bin/python
export PYTHON
# There is one settings module; the tests must not read it before their databases exist.
unexport DJANGO_SETTINGS_MODULE
# The suite starts dozens of processes, each of which would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help install run test check lint types contracts migrations prove bench coverage lock

help: ## list these commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: ## make .venv and install the locked dependencies (again only when the lock changed)
	@deploy/install.sh

run: install ## start everything, take one sample payment, serve until Ctrl-C
	@exec $(PYTHON_BIN) manage.py run_florin --with-parent --port $(PORT) $(if $(filter-out 0,$(ONCE)),--once)

test: install ## run the whole test suite in parallel on real PostgreSQL and Redis
	@$(PYTHON_BIN) -m pytest -n $(WORKERS) --dist loadfile

check: install lint types contracts migrations test ## everything a change has to pass

lint: install ## style and likely mistakes
	$(PYTHON_BIN) -m ruff check
	$(PYTHON_BIN) -m ruff format --check

types: install ## static types
	$(PYTHON_BIN) -m mypy

contracts: install ## which package may import which
	.venv/bin/lint-imports

migrations: install ## every change of a model has its migration
	$(PYTHON_BIN) manage.py makemigrations --check --dry-run

coverage: install ## the suite once more, every branch of the money paths measured
	$(PYTHON_BIN) -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term-missing:skip-covered

prove: install ## what takes long: faults under load, mutants, soaks; prints seeds and counts
	$(PYTHON_BIN) -m pytest -m prove --timeout 3600 -s
	$(PYTHON_BIN) -m tests.proofs.mutants

bench: install ## measure against the limits of this machine, as a table and as JSON lines
	@$(PYTHON_BIN) -m tests.benchmarks

lock: ## write requirements.lock anew from pyproject.toml (needs uv on the path)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url pyproject.toml --group dev -o requirements.lock
