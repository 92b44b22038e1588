# Each target does its own set-up: a virtual environment in .venv, made once and renewed when what it holds changes.
PYTHON ?= python3
BIN := .venv/bin
# More threads are faster on an idle machine, and much slower on a busy one.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test check benchmark docs verl clean

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

verl: .venv-verl/ready ## run the tests of the adapter for verl, which needs a virtual environment of its own
	@.venv-verl/bin/python -m pytest --quiet -p no:asyncio -p no:cacheprovider tests/adapters/test_verl.py tests/adapters/test_verl_agent.py

clean: ## remove the virtual environments and what the tools left
	rm -rf .venv .venv-verl site .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "Setting up .venv; the first time takes a few minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]' 2> .venv/pip.log \
		|| { cat .venv/pip.log; exit 1; }
	@touch $@

.venv-verl/ready: pyproject.toml constraints.txt
	@echo "Setting up .venv-verl; the first time takes a few minutes."
	@test -x .venv-verl/bin/python || $(PYTHON) -m venv .venv-verl
	@.venv-verl/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[verl,cli]' hypothesis pytest-timeout 2> .venv-verl/pip.log || { cat .venv-verl/pip.log; exit 1; }
	@touch $@
