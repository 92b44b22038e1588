# Each target does its own set-up: a virtual environment in .venv, made once and renewed when what it holds changes.
PYTHON ?= python3
BIN := .venv/bin
# More threads are faster on an idle machine, and much slower on a busy one.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test check benchmark docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: .venv/ready ## show one failure and its self-teacher, then train GRPO, SDPO and both, and report
	@$(BIN)/python examples/demo.py

test: .venv/ready ## run the tests
	@$(BIN)/python -m pytest --numprocesses 2 --quiet

check: .venv/ready ## lint, format, type-check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

benchmark: .venv/ready ## print how fast environments step, programs are judged, and policies are trained, beside peers
	@$(BIN)/python benchmarks/stepping.py
	@$(BIN)/python benchmarks/judging.py $(JUDGES)
	@$(BIN)/python benchmarks/distillation.py
	@$(BIN)/python benchmarks/training.py

docs: .venv/ready ## build the site into site/; a link that leads nowhere is an error
	@$(BIN)/mkdocs build --quiet

clean: ## remove the virtual environment and what the tools left
	rm -rf .venv site .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "Setting up .venv; the first time takes a few minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]' 2> .venv/pip.log \
		|| { cat .venv/pip.log; exit 1; }
	@touch $@
