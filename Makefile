# make demo | test | check | newest | tokenizers | parity | llama | docs | bench | quality | sanitize | format
PYTHON ?= python3
VENV := .venv
# How often the contestants of `make bench` take their turn.
ROUNDS := 3
# How much text the contestants of `make quality` read.
TOKENS := 24576
# Processes that run tests, each with up to 3 GB of memory.
JOBS := 2
PARITY := .venv-parity
# The newest Python and JAX that are supported.
NEWEST_PYTHON := python3.13
NEWEST := .venv-newest
LLAMA := .venv-llama
USER_VENV := .venv-user
BIN := $(VENV)/bin
# The peers that parity and the benchmarks compare with live in an environment of their own.
PEERS := torch==2.13.0 transformers==5.23.0 accelerate
LLAMA_CPP := llama-cpp-python==0.3.36

# What the C++ library is made of.
KERNELS := CMakeLists.txt $(wildcard gemma/gm/kernels/*.cc gemma/gm/kernels/*.h gemma/gm/kernels/*.inc)

.PHONY: demo test check newest format-check lint types imports tokenizers parity llama docs bench quality sanitize format clean

# What a user installs, not the developers' tools.
demo: $(USER_VENV)/ready
	$(USER_VENV)/bin/gemma generate "The capital of France is" --max-new-tokens 32

test: $(VENV)/ready
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

# The quick tests on the newest Python, for which pip takes the newest JAX.
newest: $(NEWEST)/ready
	$(NEWEST)/bin/python -m pytest -m "not slow" --numprocesses $(JOBS) --dist loadfile \
	  tests/gm/text tests/gm/dialog tests/gm/nn tests/laws

check: format-check lint types imports test

format-check: $(VENV)/ready
	$(BIN)/ruff format --check .

lint: $(VENV)/ready
	$(BIN)/ruff check .

types: $(VENV)/ready
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/ready
	$(BIN)/lint-imports

# What some tests read and the repository does not hold; without it they are skipped.
tokenizers: $(VENV)/ready
	$(BIN)/python tests/data/fetch_tokenizers.py

parity: $(PARITY)/ready
	$(PARITY)/bin/python -m pytest -m parity --numprocesses $(JOBS) --dist loadfile

# That llama.cpp reads the GGUF files that are written here, and answers the same.
llama: $(VENV)/ready $(LLAMA)/ready
	GEMMA_LLAMA_PYTHON=$(CURDIR)/$(LLAMA)/bin/python $(BIN)/python -m pytest -k llama_cpp

# What it says runs in `make test`. NO_MKDOCS_2_WARNING: of a version that is not used.
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/ready $(USER_VENV)/ready $(PARITY)/ready $(LLAMA)/ready
	$(BIN)/python benchmarks/compare.py --rounds $(ROUNDS) \
	  --gemma-python $(USER_VENV)/bin/python \
	  --torch-python $(PARITY)/bin/python --llama-python $(LLAMA)/bin/python
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/chat.py

quality: $(VENV)/ready $(LLAMA)/ready
	$(BIN)/python benchmarks/quality.py --llama-python $(LLAMA)/bin/python --tokens $(TOKENS)

# The kernels' own tests with a library that stops at a wrong address or undefined
# behaviour. Python is not built for it, so its runtime is loaded first.
SANITIZED := build/sanitize/gemma_kernels.so
RUNTIMES := $(foreach lib,libasan.so libubsan.so libstdc++.so,$(shell gcc -print-file-name=$(lib)))

sanitize: $(VENV)/ready $(SANITIZED)
	GEMMA_TEST_KERNELS=$(CURDIR)/$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$(RUNTIMES)" $(BIN)/python -m pytest tests/gm/kernels -m "not embedded"

$(SANITIZED): $(KERNELS)
	cmake -S . -B build/sanitize -DGEMMA_SANITIZE=address,undefined \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
	cmake --build build/sanitize --parallel

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/ready: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo,hub,constrained,templates,mcp,orbax,docs,dev]'
	touch $@

# The kernels lie beside the source: they are not built twice.
$(PARITY)/ready: pyproject.toml $(VENV)/ready
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --upgrade pip
	$(PARITY)/bin/python -m pip install --quiet $(PEERS)
	$(PARITY)/bin/python -m pip install --quiet --config-settings=wheel.cmake=false \
	  --editable '.[demo,hub,constrained,templates,mcp,orbax,dev]'
	touch $@

$(NEWEST)/ready: pyproject.toml $(VENV)/ready
	$(NEWEST_PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade pip
	$(NEWEST)/bin/python -m pip install --quiet --config-settings=wheel.cmake=false \
	  --editable '.[demo,hub,constrained,templates,mcp,orbax,dev]'
	touch $@

# What users install: developers' tools bring libraries that JAX imports where it finds them.
$(USER_VENV)/ready: pyproject.toml $(KERNELS) $(shell git ls-files gemma)
	@echo "Installing gemma-jax, JAX and Gemma 3 270M (253 MB) into $(USER_VENV)."
	$(PYTHON) -m venv $(USER_VENV)
	$(USER_VENV)/bin/python -m pip install --disable-pip-version-check '.[demo,hub]'
	touch $@

# Compiled here, for this machine's instructions: the wheels of others would be slower.
$(LLAMA)/ready:
	$(PYTHON) -m venv $(LLAMA)
	$(LLAMA)/bin/python -m pip install --quiet --upgrade pip
	CMAKE_ARGS=-DGGML_NATIVE=ON $(LLAMA)/bin/python -m pip install --quiet $(LLAMA_CPP)
	touch $@

clean:
	rm -rf $(VENV) $(USER_VENV) $(PARITY) $(NEWEST) $(LLAMA) build dist
