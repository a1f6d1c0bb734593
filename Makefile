# `make demo` and `make test` each do all of their own set-up on a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# Python compiles what it imports: to compile all that is installed would take most of a minute.
PIP := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt

.PHONY: help demo test lint types layers results-check tests slow fuzz hooks clean

help:
	@echo "make demo           set up, run everything on the bundled scenes world, make a page"
	@echo "make test           set up, lint, check types, layers and results, run the tests"
	@echo "make lint           ruff only; also: types, layers, results-check, tests"
	@echo "make slow           tests that take long, such as full-size detectors"
	@echo "make fuzz           thousands of damaged inputs for most readers, an hour or so; resumes"
	@echo "make hooks          let git run lint, types and layers before every commit"
	@echo "make clean          remove .venv and caches; runs/ and results/ stay"

demo: $(VENV)/.ready-demo
	$(BIN)/diffuprompt demo
	$(BIN)/diffuprompt ground demo

# What seconds find comes first; then types and results are checked beside the tests.
test: lint layers
	@$(MAKE) --no-print-directory --jobs types results-check tests \
	  || { echo "types, results-check or tests failed: search for '***' above"; exit 1; }

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-test
	$(BIN)/mypy

layers: $(VENV)/.ready-test
	$(BIN)/lint-imports

results-check: $(VENV)/.ready-test
	@if [ -d results ]; then \
	  $(BIN)/diffuprompt report results --check RESULTS.md; \
	else \
	  echo "results-check: there is no results/ yet, so NOTHING was checked"; \
	fi

tests: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal --durations 10 -m "not slow"

slow: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --durations 10 -m slow

EXAMPLES ?= 5000

fuzz: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --examples $(EXAMPLES) --workers $(WORKERS)

hooks: $(VENV)/.ready-test
	$(BIN)/pre-commit install

# A stamp is made last, so an interrupted set-up is repeated; it ages with what it was made from.
$(VENV)/.ready-demo: pyproject.toml constraints.txt
	@echo "setting up $(VENV): a few minutes the first time"
	@$(make_venv)
	$(PIP) --editable '.[report]'
	@touch $@

$(VENV)/.ready-test: pyproject.toml constraints.txt
	@echo "setting up $(VENV): a few minutes the first time"
	@$(make_venv)
	$(PIP) --editable '.[report,hub,flow,dev]'
	@touch $@ $(VENV)/.ready-demo

define make_venv
$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
endef

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
