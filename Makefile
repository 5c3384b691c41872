# `make demo` and `make test` are all a newcomer needs: each sets up .venv on first use.
# `make bench-peers` sets up .venv-peers, the libraries that `covey bench` compares with.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint lock bench-peers

# Where it is set, every process compiles all that it imports: seconds each, of which tests start many.
unexport PYTHONDONTWRITEBYTECODE

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh deploy/demo.sh

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadgroup

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Written last, so an installation that was cut short is finished by the next call. Python compiles a
# module when it is first imported: compiling all of them here would take longer than the rest.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile --quiet
$(READY): deploy/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  "covey needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	@echo "installing deploy/requirements.lock into .venv: a few minutes, once"
	$(PIP) 'pip>=25'  # the one that comes with Python 3.11 takes twice as long over the lock
	$(PIP) -r deploy/requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

bench-peers: .venv-peers/.ready

.venv-peers/.ready: deploy/bench-peers.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check --quiet 'pip>=25'
	.venv-peers/bin/python -m pip install --disable-pip-version-check --quiet -r deploy/bench-peers.lock
	@touch $@

# Each lock names torch without a local version, so that each machine may take the build that suits it.
COMPILE := $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --annotation-style=line \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: $(READY)
	$(COMPILE) --extra dev --output-file deploy/requirements.lock pyproject.toml
	$(COMPILE) --output-file deploy/bench-peers.lock deploy/bench-peers.in
	sed -i 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' deploy/*.lock
