# Two commands: `make demo` and `make test`. Each sets up .venv by itself; the second time it is there already.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV ?= .venv
OUT ?= demo-out
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo test bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/product
	$(BIN)/emo-avatar demo -o $(OUT)

test: $(VENV)/checks
	$(BIN)/ruff check backend tests
	$(BIN)/ruff format --check backend tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

bench: $(VENV)/product
	$(BIN)/emo-avatar bench render
	$(BIN)/emo-avatar bench animate
	$(BIN)/emo-avatar bench build

clean:
	rm -rf $(VENV) $(OUT) .mypy_cache .pytest_cache .ruff_cache

# Each file below is a stamp: it is newer than everything that its contents were installed from.

$(VENV)/product: backend/pyproject.toml constraints.txt | $(VENV)/pip
	@echo "Installing Emo Avatar and what it needs (about 1.5 GB on disk, more with CUDA) ..."
	$(PIP_INSTALL) -e backend
	@echo "Compiling the rasteriser for this processor ..."
	$(BIN)/python -c "from emo_avatar.render.rasterize import warm_up; warm_up()"
	@touch $@

$(VENV)/checks: $(VENV)/product
	@echo "Installing what the checks need ..."
	$(PIP_INSTALL) -e "backend[test]"
	@touch $@

$(VENV)/pip:
	@test -n "$(PYTHON)" || { echo "No Python found; install Python 3.11 or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed; say make PYTHON=/path/to/python3.11') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	@touch $@
