# make dream PROMPT="a red bear wearing a top hat"   the whole job, from nothing
# make test                                          set up and run the tests
# make bench                                         the small benchmark (docs/benchmark.md)
# make serve, make stop                              Prefect's page, deployments and a worker, here
# make lint                                          style and types
# make docs                                          build the documentation site, strictly
# make clean                                         remove what was made, but not outputs/

PROMPT ?= a red bear wearing a top hat
export PROMPT
ARGS ?=
# The first Python that fits; PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
	2>/dev/null && echo $$p && break; done)
# An extra package index for torch, such as PyTorch's own CPU index; empty means the default.
TORCH_INDEX ?=

BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
# What pip is told by its environment, in the variables that uv reads; uv's own come first.
AS_PIP := UV_FIND_LINKS="$${UV_FIND_LINKS-$$(echo $$PIP_FIND_LINKS | tr ' ' ,)}" \
	UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX-$$PIP_INDEX_URL}" \
	UV_INDEX="$${UV_INDEX-$$PIP_EXTRA_INDEX_URL}" \
	UV_NO_INDEX="$${UV_NO_INDEX-$$PIP_NO_INDEX}" \
	SSL_CERT_FILE="$${SSL_CERT_FILE-$$PIP_CERT}"
# $(call install,what): by uv, which is several times faster; by pip where uv does not manage.
# Bytecode once and now, as pip does it, not at each start of a process that may not keep it.
install = { test -x "$(UV)" && $(AS_PIP) "$(UV)" pip install -q --python $(BIN)/python \
	--compile-bytecode --index-strategy unsafe-best-match -c constraints.txt $(1); } || \
	{ echo "with pip, which takes longer"; $(PIP) install -c constraints.txt $(1); }

.PHONY: dream test bench serve stop lint docs venv clean
.DEFAULT_GOAL := dream

dream: $(INSTALLED)
	@$(BIN)/stabledreamer dream $(ARGS) -- "$$PROMPT"

test: $(INSTALLED)
	$(BIN)/python -m pytest $(ARGS)

bench: $(INSTALLED)
	$(BIN)/dvc repro $(ARGS)
	@$(BIN)/python -m benchmarks.claims.verdict

serve: $(INSTALLED)
	@$(BIN)/stabledreamer serve $(ARGS)

stop:
	@test ! -x $(BIN)/stabledreamer || $(BIN)/stabledreamer stop

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(INSTALLED)-docs
	$(BIN)/mkdocs build --strict

venv: $(INSTALLED)

# The stamp is as new as the two files that say what is installed, so nothing is installed twice.
$(INSTALLED): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "StableDreamer needs Python 3.11 to 3.14; found $$(python3 --version 2>&1)." \
		"Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; exit 2; fi
	@echo "Installing into .venv: about 3 GB, once."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@test -x "$(UV)" || $(PIP) install -c constraints.txt uv 2>/dev/null || true
	@echo "1/3 torch"
	@$(call install,$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch)
	@echo "2/3 everything else"
	@$(call install,-e '.[dev]')
	@echo "3/3 compiling the CPU's kernels: half a minute"
	@$(BIN)/python -W ignore -m stabledreamer.runtime.warm_up
	@touch $@

$(INSTALLED)-docs: $(INSTALLED)
	@$(call install,-e '.[docs]')
	@touch $@

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
