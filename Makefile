# Two commands matter: `make demo` runs the whole loop, `make test` checks everything.
# Both set up what they need in .venv (and .clients, the programs that check our exports).

PYTHON ?= $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v python3)
BIN := .venv/bin
CLIENTS := .clients/bin
OUT ?= scenelake-demo
SIZE ?= small

.PHONY: demo test lint types unit docs clients bench weights clean

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
	$(BIN)/python -m pytest -q

clients: .venv/.ready .clients/.ready
	SCENELAKE_CLIENTS=$(CURDIR)/$(CLIENTS) $(BIN)/python -m pytest -q -m client

bench: .venv/.ready
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Scenelake needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.clients/.ready: tests/clients/requirements.txt
	$(PYTHON) -m venv .clients
	$(CLIENTS)/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

clean:
	rm -rf .venv .clients scenelake-demo .mypy_cache .ruff_cache .pytest_cache
