# make demo | test | check | parity | bench | quality | format
PYTHON ?= python3
VENV := .venv
# How often the contestants of `make bench` take their turn.
ROUNDS := 3
# How much text the contestants of `make quality` read.
TOKENS := 24576
PARITY := .venv-parity
LLAMA := .venv-llama
BIN := $(VENV)/bin
# The peers that parity and the benchmarks compare with live in an environment of their own.
PEERS := torch==2.13.0 transformers==5.23.0 accelerate
LLAMA_CPP := llama-cpp-python==0.3.36

.PHONY: demo test check format-check lint types imports parity bench quality format clean

demo: $(VENV)/ready
	$(BIN)/gemma generate "The capital of France is" --max-new-tokens 32

test: $(VENV)/ready
	$(BIN)/python -m pytest

check: format-check lint types imports test

format-check: $(VENV)/ready
	$(BIN)/ruff format --check .

lint: $(VENV)/ready
	$(BIN)/ruff check .

types: $(VENV)/ready
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/ready
	$(BIN)/lint-imports

parity: $(PARITY)/ready
	$(PARITY)/bin/python -m pytest tests/parity -m parity

bench: $(VENV)/ready $(PARITY)/ready $(LLAMA)/ready
	$(BIN)/python benchmarks/compare.py --rounds $(ROUNDS) \
	  --torch-python $(PARITY)/bin/python --llama-python $(LLAMA)/bin/python

quality: $(VENV)/ready $(LLAMA)/ready
	$(BIN)/python benchmarks/quality.py --llama-python $(LLAMA)/bin/python --tokens $(TOKENS)

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the C++ library is made of.
KERNELS := CMakeLists.txt $(wildcard gemma/gm/kernels/*.cc gemma/gm/kernels/*.h gemma/gm/kernels/*.inc)

$(VENV)/ready: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo,hub,dev]'
	touch $@

$(PARITY)/ready: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --upgrade pip
	$(PARITY)/bin/python -m pip install --quiet $(PEERS)
	$(PARITY)/bin/python -m pip install --quiet --editable '.[demo,hub,dev]'
	touch $@

# Compiled here, for this machine's instructions: the wheels of others would be slower.
$(LLAMA)/ready:
	$(PYTHON) -m venv $(LLAMA)
	$(LLAMA)/bin/python -m pip install --quiet --upgrade pip
	CMAKE_ARGS=-DGGML_NATIVE=ON $(LLAMA)/bin/python -m pip install --quiet $(LLAMA_CPP)
	touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(LLAMA) build dist
