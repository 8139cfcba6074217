# `make` lists the targets. Everything is installed into .venv; runs go to runs/.
PYTHON ?= python3
RUN ?= runs/demo
TESTS := .venv/bin/python -m pytest -n 2 --dist worksteal
TRIAL := .venv/trial
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo table strategies tutorials lab test test-quick lint clean

help:
	@echo "make demo    search an architecture on the bundled digits, train and evaluate it"
	@echo "             (3 to 4 minutes on 2 cores; RUN=$(RUN) is the run folder)"
	@echo "make table   the same for three seeds, with the real twins: the table in the README"
	@echo "make strategies  search with every strategy, five seeds each, and compare (an hour on 2 cores;"
	@echo "             OMP_NUM_THREADS=1 make -j 2 strategies is faster)"
	@echo "make tutorials  run all tutorials and write those that are new or changed"
	@echo "make lab     work through the tutorials in Jupyter Lab"
	@echo "make test    run the test suite in two processes (some 11 minutes on 2 cores, the first run,"
	@echo "             which compiles all kernels; 9 later)"
	@echo "make test-quick  most of the tests, none that takes long (less than a minute, after one"
	@echo "             make test): while you work on the code"
	@echo "make lint    look for faults with ruff, and for code that is not formatted"
	@echo "make clean   remove .venv, caches and build artefacts; never runs/"
	@echo "PYTHON=$(PYTHON) is the interpreter that .venv is made from (3.10 or newer)"

demo: .venv/.installed
	.venv/bin/bnas search $(RUN) --resume
	.venv/bin/bnas train $(RUN) --resume
	.venv/bin/bnas train $(RUN) --genotype random --resume
	.venv/bin/bnas train $(RUN) --genotype skips --resume
	.venv/bin/bnas evaluate $(RUN)

table: .venv/.installed
	for seed in 0 1 2; do \
	    .venv/bin/bnas search runs/table$$seed --seed $$seed --resume && \
	    .venv/bin/bnas train runs/table$$seed --resume && \
	    .venv/bin/bnas train runs/table$$seed --precision real --resume && \
	    .venv/bin/bnas train runs/table$$seed --genotype random --resume && \
	    .venv/bin/bnas train runs/table$$seed --genotype skips --resume && \
	    .venv/bin/bnas evaluate runs/table$$seed || exit; \
	done

# What each strategy finds, in about the same time, and what a single random genotype gives; all networks are trained
# alike, the validation images held out: docs/strategies.md.
OPTIONS_shared := --strategy shared --supernet-epochs 150
OPTIONS_one := --strategy random --individuals 1 --individual-epochs 1
SEARCHES := $(foreach name,dcp cp bnas darts random shared evolution one,$(foreach seed,0 1 2 3 4,\
    runs/$(name)-seed$(seed)))

strategies: $(SEARCHES:=/evaluation.json)
	.venv/bin/bnas compare $(SEARCHES)

runs/%/evaluation.json: name = $(firstword $(subst -seed, ,$*))
runs/%/evaluation.json: .venv/.installed
	.venv/bin/bnas search runs/$* --seed $(lastword $(subst -seed, ,$*)) --resume \
	    $(or $(OPTIONS_$(name)),--strategy $(name))
	.venv/bin/bnas train runs/$* --hold-out --resume
	.venv/bin/bnas evaluate runs/$*

tutorials: .venv/.installed-tutorials
	.venv/bin/python tutorials/build.py

lab: .venv/.installed-lab
	cd tutorials && ../.venv/bin/jupyter lab

# First the kernels with every index checked, so that a bad one is an error and not a crash.
test: .venv/.installed-test
	NUMBA_BOUNDSCHECK=1 $(TESTS) tests/test_kernels.py tests/test_xnor.py tests/test_fused_kernels.py
	$(TESTS)

test-quick: .venv/.installed-test
	$(TESTS) -m "not slow"

lint: .venv/.installed-lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

.venv/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo \
	    "bnas needs Python 3.10 or newer, and $(PYTHON) is not: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing bnas into .venv (once; a few minutes on a slow line) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) install -e .
	@echo "Compiling what a search, a training and a packed network need (once; half a minute) ..."
	@rm -rf $(TRIAL)
	@{ .venv/bin/bnas search $(TRIAL) --quick --limit 128 && \
	    .venv/bin/bnas train $(TRIAL) --quick --limit 128 && .venv/bin/bnas export $(TRIAL); \
	    } > .venv/compile.log 2>&1 || { cat .venv/compile.log; exit 1; }
	@rm -r $(TRIAL)
	@touch $@

.venv/.installed-tutorials: .venv/.installed
	@$(PIP) install -e '.[tutorials]'
	@touch $@

.venv/.installed-lab: .venv/.installed
	@$(PIP) install -e '.[lab]'
	@touch $@

.venv/.installed-test: .venv/.installed
	@$(PIP) install -e '.[test]'
	@touch $@

.venv/.installed-lint: .venv/.installed
	@$(PIP) install -e '.[lint]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find bnas tests data tutorials -name __pycache__ -type d -prune -exec rm -rf {} +
