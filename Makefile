# make dream PROMPT="a red bear wearing a top hat"   the whole job, from nothing
# make test                                          set up and run the tests
# make bench                                         the small benchmark (docs/benchmark.md)
# make serve, make stop                              Prefect's page, deployments and a worker, here
# make lint                                          style and types
# make clean                                         remove what was made, but not outputs/

PROMPT ?= a red bear wearing a top hat
export PROMPT
ARGS ?=
# The first Python that fits; PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	2>/dev/null && echo $$p && break; done)
# An extra package index for torch, such as PyTorch's own CPU index; empty means pip's default.
TORCH_INDEX ?=

PIP := .venv/bin/python -m pip --disable-pip-version-check -qq
INSTALLED := .venv/installed

.PHONY: dream test bench serve stop lint venv clean
.DEFAULT_GOAL := dream

dream: $(INSTALLED)
	@.venv/bin/stabledreamer dream $(ARGS) -- "$$PROMPT"

test: $(INSTALLED)
	.venv/bin/python -m pytest $(ARGS)

bench: $(INSTALLED)
	.venv/bin/dvc repro $(ARGS)

serve: $(INSTALLED)
	@.venv/bin/stabledreamer serve $(ARGS)

stop:
	@test ! -x .venv/bin/stabledreamer || .venv/bin/stabledreamer stop

lint: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

venv: $(INSTALLED)

# The stamp is as new as the two files that say what is installed, so nothing is installed twice.
$(INSTALLED): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "StableDreamer needs Python 3.11 or 3.12; found $$(python3 --version 2>&1)." \
		"Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 2; fi
	@echo "Installing into .venv: about 3 GB and a few minutes, once."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "1/2 torch"
	@$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch
	@echo "2/2 everything else"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
