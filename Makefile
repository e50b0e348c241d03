# The doors of the project; `make` alone lists them.
SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -ec
VENV        := .venv
BIN         := $(VENV)/bin
READY       := $(VENV)/.ready
PIP         := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
SUPPORTED   := 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
PYTHON      ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
                 $$p -c $(SUPPORTED) 2>/dev/null && echo $$p && break; done)
# On Linux, PyPI's torch brings several GB of CUDA libraries; PyTorch's own index has the CPU build.
# It is asked only where no NVIDIA driver is found. TORCH_INDEX= (empty) never asks it.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
# For every command that runs the workflow or pytest: more of its own options.
ARGS        ?=
CORES       ?= all
PROFILE     ?= default
SNAKEMAKE    = $(BIN)/snakemake --cores $(CORES) --workflow-profile workflow/profiles/$(PROFILE)
SETTINGS     = $(strip $(if $(ROOT),root='$(abspath $(ROOT))') $(if $(TILES),tiles='$(abspath $(TILES))') \
                 $(if $(MSTC),mstc='$(abspath $(MSTC))') $(if $(MNIST),mnist='$(abspath $(MNIST))') \
                 $(if $(CIFAR10),cifar10='$(abspath $(CIFAR10))') $(if $(WEIGHTS),weights='$(abspath $(WEIGHTS))') \
                 $(if $(DEVICE),device=$(DEVICE)))
NOTEBOOKS   := $(patsubst %.py,%.ipynb,$(wildcard notebooks/*.py))

# Several processes of one thread each are faster than threads that wait for one another.
export OMP_NUM_THREADS ?= 1
# Kernels of this .venv only, and none of the user's IPython start-up files.
export JUPYTER_PATH :=
export JUPYTER_PREFER_ENV_PATH := 1
export IPYTHONDIR := $(CURDIR)/build/ipython
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Without byte code every process would compile torch again: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup book test lab records bench notebooks lint serve clean

help: ## list these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='|' read -r name text; do printf 'make %-10s %s\n' "$$name" "$$text"; done

setup: $(READY) ## make or refresh .venv (the other commands do it when needed)

$(READY): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c $(SUPPORTED) 2>/dev/null || \
	  { echo 'Python 3.11, 3.12 or 3.13 is needed and was not found; name one: make PYTHON=/path/to/python3.11'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25'
	$(PIP) install --no-compile --retries 1 --timeout 15 \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch torchvision
	PYTHONWARNINGS=ignore $(PIP) install --no-compile -c constraints.txt -e '.[dev,slurm]'
	$(PIP) check
	@touch $@

book: $(READY) notebooks ## run what changed and build the book: _build/html/index.html
	$(SNAKEMAKE) $(ARGS) book
	@echo 'The book is in _build/html/index.html (make serve shows it).'

test: $(READY) ## run the tests (ARGS="-k padim" chooses)
	$(BIN)/python -m pytest -q $(ARGS)

lab: $(READY) ## open JupyterLab
	$(BIN)/jupyter lab $(ARGS)

records: $(READY) ## run the sweeps on real images: ROOT=, TILES=, MNIST= and/or CIFAR10=FOLDER [WEIGHTS=FILE or FOLDER] [DEVICE=cuda]
	@test -n '$(ROOT)$(TILES)$(MSTC)$(MNIST)$(CIFAR10)' || \
	  { echo 'make records needs the folder that holds the categories of MVTec AD: make records ROOT=FOLDER [WEIGHTS=FOLDER] (magnetic tiles: TILES=FOLDER, mSTC: MSTC=FOLDER, MNIST=FOLDER, CIFAR10=FOLDER)'; exit 2; }
	@for folder in '$(ROOT)' '$(TILES)' '$(MSTC)' '$(MNIST)' '$(CIFAR10)'; do test -z "$$folder" -o -d "$$folder" || { echo "$$folder is not a folder"; exit 2; }; done
	@test -z '$(WEIGHTS)' || test -e '$(WEIGHTS)' || { echo 'WEIGHTS=$(WEIGHTS) is not there'; exit 2; }
	$(SNAKEMAKE) $(ARGS) --config $(SETTINGS) -- records

bench: $(READY) ## measure time and memory beside other implementations: build/bench/*.json
	$(SNAKEMAKE) $(ARGS) bench

notebooks: $(NOTEBOOKS) ## make notebooks/*.ipynb from notebooks/*.py

# Written beside the target and moved only where it differs: an unchanged notebook is not run again.
notebooks/%.ipynb: notebooks/%.py | $(READY)
	@$(BIN)/jupytext --quiet --to ipynb --output - $< | $(BIN)/nbstripout > $@.part
	@if cmp -s $@.part $@; then rm $@.part; touch $@; else mv $@.part $@; echo 'made $@'; fi

lint: $(READY) ## check the style of the code
	$(BIN)/ruff check .

serve: book ## build the book and show it at http://127.0.0.1:8000
	$(BIN)/python -m http.server -d _build/html --bind 127.0.0.1 8000

clean: ## remove everything that is made, except .venv
	rm -rf _build build .snakemake book/executed book/generated
