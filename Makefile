# Everything that a person or CI does with this project. `make demo` and `make test` set up a fresh machine by themselves.
.DELETE_ON_ERROR:
.PHONY: demo demo-up demo-down check format test test-fast test-pythons test-slurm-versions test-fresh bench chaos
.PHONY: attack lock clean

# Hundreds of processes are started by a test run: with this set, each would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE

# Empty: the first that will do of python3, python3.14, python3.13, python3.12, python3.11.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

demo demo-up: $(READY)
	@$(BIN)/python -m lab.demo $(if $(filter demo-up,$@),up,run)
demo-down:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m lab.demo down; else echo "Nothing was set up here."; fi

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Real parts (Slurm with accounting on and off) are installed where they are missing; nothing is skipped.
# Apptainer and a newer Slurm live in a root of Debian sid: those tests run in it, as an ordinary user.
# A part that fails stops none that comes after it: the end says which failed.
# Many tests wait for Slurm, so a few run side by side, each worker with labs of its own; WORKERS=0: one after another.
WORKERS ?= 3
test: $(READY)
	@failed=; trap 'exit 130' INT; run() { part=$$1; shift; echo "$$*"; "$$@" || failed="$$failed$${failed:+, }$$part"; }; \
	run "installing what the tests need" $(BIN)/python -m lab install; \
	run "the tests on this machine" $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not apptainer"; \
	run "the tests with Apptainer" $(BIN)/python -m lab root pytest sid -- -n $(WORKERS) --dist worksteal -m apptainer; \
	[ -z "$$failed" ] || { echo "make test: failed: $$failed."; exit 1; }

# Without root it is only said which programs are missing: few tests need them.
test-fast: $(READY)
	-@$(BIN)/python -m lab install --no-slurm
	$(BIN)/pytest -m "not slurm and not long and not apptainer and not root"

# The fast tests on each Python that is allowed and found here; each has an environment of its own.
test-pythons:
	@failed=; for version in 3.11 3.12 3.13 3.14; do \
	  found=; for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	    if "$$python" -c "" 2>/dev/null; then found=$$python; break; fi; done; \
	  if [ -z "$$found" ]; then echo "Python $$version: not on this machine"; continue; fi; \
	  echo "Python $$version: $$found"; \
	  $(MAKE) --no-print-directory test-fast PYTHON="$$found" VENV=.cache/python-$$version || failed="$$failed $$version"; \
	done; [ -z "$$failed" ] || { echo "Failed on Python$$failed."; exit 1; }

# Every end of a job, and all that talks to Slurm, on Slurm 24.11 (Debian trixie) and 26.05 (sid). As root; minutes.
SLURM_TESTS := tests/ends tests/agent/slurm tests/agent/job/test_wrapper_slurm.py tests/field/slurm
test-slurm-versions: $(READY)
	@failed=; for suite in trixie sid-slurm; do \
	  $(BIN)/python -m lab root pytest $$suite -- -n $(WORKERS) --dist worksteal $(SLURM_TESTS) || failed="$$failed $$suite"; \
	done; [ -z "$$failed" ] || { echo "Failed in Debian$$failed."; exit 1; }

# A newcomer's way on a bare Debian 12 and a bare Debian 13, in roots made for it. As root; an hour.
# A part of it: make test-fresh FRESH=trixie FRESH_MAKE=test-fast
FRESH := bookworm trixie
FRESH_MAKE := demo demo-down test
test-fresh: $(READY)
	$(BIN)/python -m lab fresh $(FRESH) -- $(FRESH_MAKE)

bench: $(READY)
	$(BIN)/python -m lab install
	$(BIN)/python -m bench

# Fault injection: make chaos CHAOS='kills --seed 7 --faults 500'; --help tells more.
chaos: $(READY)
	$(BIN)/python -m chaos $(CHAOS)

# Attacks on a running product, each with its control: make attack ATTACK='paths --seed 7'; --help tells more. As root.
attack: $(READY)
	$(BIN)/python -m attack $(ATTACK)

# The locks name packages and hashes, and no address. The gateway's image gets what the gateway needs of the first one.
COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header
lock: $(READY)
	$(COMPILE) --upgrade --all-extras pyproject.toml -o requirements.lock
	$(COMPILE) --extra gateway --constraints requirements.lock pyproject.toml -o singularity/gateway.lock

$(READY): requirements.lock pyproject.toml
	@sh lab/venv.sh $(VENV) $(PYTHON)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
