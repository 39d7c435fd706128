# `make demo`, `make extension` and `make test`. Each sets up what it needs by itself; the second time it is there already.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV ?= .venv
OUT ?= demo-out
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
PIP_FLAGS := --disable-pip-version-check --retries 10 --timeout 60
PIP_INSTALL := $(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt

# Blender as a Python package, a version a folder. It exists for Python 3.11 only, and is about 1 GB each.
PYTHON311 ?= $(shell command -v python3.11)
BPY_VENV ?= .venv-bpy-
BPY_VERSIONS ?= 4.2.23 4.5.15 5.0.1
BPY_NEWEST := $(BPY_VENV)5.0.1
WITHOUT_BLENDER := Python 3.11 is needed for Blender as a package; say make PYTHON311=/path/to/python3.11

.PHONY: demo extension test test-backend test-addon test-blender test-gui bench bench-blender clean
.DELETE_ON_ERROR:

demo: $(VENV)/product
	$(BIN)/emo-avatar demo -o $(OUT)

# The zip that a user installs, made and checked by Blender's own builder
extension: $(BPY_NEWEST)/ready
	@mkdir -p dist
	$(call builder,$(BPY_NEWEST)) build --source-dir . --output-dir dist
	$(call builder,$(BPY_NEWEST)) validate dist/emo_avatar-*.zip
	@ls -l dist/emo_avatar-*.zip | awk '{printf "%s: %.1f MB\n", $$NF, $$5 / 1e6}'

test: test-backend test-addon

test-backend: $(VENV)/checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

# The add-on's tests, inside of Blender, against the installed zip, with the backend of this checkout
ifneq ($(PYTHON311),)
test-addon: test-blender-5.0.1

test-blender: $(addprefix test-blender-,$(BPY_VERSIONS))
else
test-addon:
	@echo "SKIPPED the add-on's tests: $(WITHOUT_BLENDER)"

test-blender:
	@echo "$(WITHOUT_BLENDER)"; exit 1
endif

test-blender-%: $(BPY_VENV)%/ready $(VENV)/product
	EMO_AVATAR_PYTHON="$(abspath $(BIN))/python" $(BPY_VENV)$*/$(SCRIPTS)/python -m pytest -q tests/blender

# How long key edits take to be seen, and what playback costs
bench-blender: $(BPY_NEWEST)/ready $(VENV)/product
	EMO_AVATAR_PYTHON="$(abspath $(BIN))/python" $(BPY_NEWEST)/$(SCRIPTS)/python -m pytest -q -s tests/blender/bench_timeline.py

# A mouse clicks through a Blender, 5.2 or 4.3 (Linux, as root, in a chroot under Xvfb), and leaves screenshots in build
GUI_BLENDER ?= 5.2
test-gui: extension $(VENV)/checks
	GUI_BLENDER=$(GUI_BLENDER) $(BIN)/python -m pytest -q -rs -x tests/gui/smoke.py tests/gui/work.py

bench: $(VENV)/product
	$(BIN)/emo-avatar bench render
	$(BIN)/emo-avatar bench animate
	$(BIN)/emo-avatar bench build

clean:
	rm -rf $(VENV) .venv-bpy-* dist $(OUT) .mypy_cache .pytest_cache .ruff_cache

# Each file below is a stamp: it is newer than everything that its contents were installed from.

$(VENV)/product: backend/pyproject.toml constraints.txt | $(VENV)/pip
	@echo "Installing Emo Avatar and what it needs (about 1.5 GB on disk, more with CUDA) ..."
	$(call persistently,$(PIP_INSTALL) -e backend)
	@echo "Compiling the rasteriser for this processor ..."
	$(BIN)/python -c "from emo_avatar.render.rasterize import warm_up; warm_up()"
	@touch $@

$(VENV)/checks: $(VENV)/product
	@echo "Installing what the checks need ..."
	$(call persistently,$(PIP_INSTALL) -e "backend[test]")
	@touch $@

$(VENV)/pip:
	@test -n "$(PYTHON)" || { echo "No Python found; install Python 3.11 or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed; say make PYTHON=/path/to/python3.11') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	@touch $@

.PRECIOUS: $(BPY_VENV)%/ready
$(BPY_VENV)%/ready:
	@test -n "$(PYTHON311)" || { echo "$(WITHOUT_BLENDER)"; exit 1; }
	@echo "Installing Blender $* as a Python package (about 1 GB) ..."
	$(PYTHON311) -m venv $(BPY_VENV)$*
	$(call persistently,$(BPY_VENV)$*/$(SCRIPTS)/python -m pip install $(PIP_FLAGS) bpy==$* pytest)
	@touch $@

# A package index may have a bad minute, and the pip that comes with a Python takes no broken download up again.
persistently = @for pause in 10 60 -; do \
	  echo '$(1)'; $(1) && break; \
	  if [ $$pause = - ]; then exit 1; fi; \
	  echo "This failed; once more in $$pause seconds."; sleep $$pause; \
	done

# Works without starting Blender
builder = $(1)/$(SCRIPTS)/python -I "$$(find $(1) -name blender_ext.py)"
