# Two commands matter: `make demo` runs the whole loop, `make test` checks everything.
# Both set up what they need in .venv (and .clients, the programs that check what we write and read).

# The first Python here that runs and is new enough; shims of absent versions do not run.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# The clients need numpy 1.26, which has no wheels beyond Python 3.12.
CLIENT_PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
CLIENTS := .clients/bin
OUT ?= scenelake-demo
SIZE ?= small

.PHONY: demo test lint types unit docs clients peers bench weights clean

demo: .venv/.ready
	$(BIN)/scenelake demo --out $(OUT) --size $(SIZE)

test: lint types docs unit clients

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.ready
	$(BIN)/mypy

docs: .venv/.ready
	$(BIN)/python -m cli.docs --check

unit: .venv/.ready
	$(BIN)/python -m pytest -q -n 2

clients: .venv/.ready
ifeq ($(CLIENT_PYTHON),)
	@echo "The export clients need Python 3.10 to 3.12, which is not here: their tests are left out."
else
	@$(MAKE) --no-print-directory .clients/.ready
	SCENELAKE_CLIENTS=$(CURDIR)/$(CLIENTS) $(BIN)/python -m pytest -q -m client
endif

bench: .venv/.ready
	@for name in closed_loop rare_mining lake_loading lake_ingest round_trip; do \
		echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py || exit 1; done

# Makes the weights that ship, from nothing but seeds of the procedural world (about an hour).
weights: .venv/.ready
	$(BIN)/python benchmarks/train_encoder.py
	$(BIN)/python benchmarks/train_generator.py

.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Scenelake needs Python 3.11 or newer with its venv module (Debian: python3-venv)."; \
		echo "None was found. If there is one elsewhere: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.clients/.ready: tests/clients/requirements.txt tests/clients/sources.txt tests/clients/crime.txt
	$(CLIENT_PYTHON) -m venv .clients
	$(CLIENTS)/python -m pip install --quiet --disable-pip-version-check --no-compile -r tests/clients/requirements.txt
	$(CLIENTS)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r tests/clients/sources.txt
	$(CLIENTS)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --upgrade \
		--target .clients/crime -r tests/clients/crime.txt
	@touch $@

# What benchmarks/closed_loop.py --peers compares with; no test needs it.
peers: benchmarks/peers.txt
	$(CLIENT_PYTHON) -m venv .peers
	.peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt

clean:
	rm -rf .venv .clients .peers scenelake-demo .mypy_cache .ruff_cache .pytest_cache
