# Two commands do everything: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where the real GUE files lie: `basewise fetch gue` puts them there, or say make study DATA=DIR.
DATA ?= data/gue

.PHONY: demo test faults check study benchmarks clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "basewise needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed  ## the whole job on data it makes itself; prints the path of the report
	$(BIN)/basewise demo

# One thread each: tiny tensors, and two processes that do not wait for each other.
test: $(VENV)/installed  ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

faults: $(VENV)/installed  ## the long form of what runs survive: fifty kills, machines lost
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults tests/contract

check: $(VENV)/installed  ## style, format and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

study: $(VENV)/installed  ## the promoter study on real GUE data
	$(BIN)/basewise run studies/gue_promoters.toml --data $(DATA)

benchmarks: $(VENV)/installed  ## the numbers of docs/benchmarks.md that need no data but GUE
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/auditing.py $(DATA)
	$(BIN)/python benchmarks/scanning.py
	$(BIN)/python benchmarks/windows.py
	$(BIN)/python benchmarks/regions.py
	$(BIN)/python benchmarks/explainers.py own
	$(BIN)/python benchmarks/explainers.py overhead --models cnn esm bert
	$(BIN)/python benchmarks/accuracy.py --data $(DATA)
	$(BIN)/python benchmarks/megabase.py --bases 1000000 --threads 2
	for what in overhead resume workers; do $(BIN)/python benchmarks/scaling.py $$what; done
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/training.py --data $(DATA)
	$(BIN)/python benchmarks/controls.py
	$(BIN)/python benchmarks/motif_tests.py --repeats 200 --images docs/images

clean:
	rm -rf $(VENV) dist build
