# make run    set everything up, run the gene-circuit study, say where its file and figures are
# make test   set everything up, run the test suite, two files at a time
# make slow   the long tests     make lint   ruff and mypy     make bench   speed ratios
# make docs   the guide and the API reference, in site/        make clean   remove .venv and results

PYTHON ?= python3
BIN := .venv/bin
export MPLBACKEND := Agg

.PHONY: run test slow lint bench docs clean

run: .venv/installed
	$(BIN)/workbench run gene_circuit --overwrite

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python benchmarks/starts.py
	$(BIN)/python benchmarks/fit_speed.py
	$(BIN)/python benchmarks/fit_accuracy.py --quick
	$(BIN)/python benchmarks/step_cost.py
	$(BIN)/python benchmarks/ssa_speed.py --quick
	$(BIN)/python benchmarks/paths_speed.py
	$(BIN)/python benchmarks/landscape_cost.py

docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: try make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint,baselines]'
	touch $@

clean:
	rm -rf .venv results build site *.egg-info
