# One command sets everything up and then works; `make help` lists what there is.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/set-up.stamp
DEV_STAMP := $(VENV)/set-up-dev.stamp
BROWSER_STAMP := $(VENV)/set-up-browser.stamp
TRAIN_STAMP := $(VENV)/set-up-train.stamp

# A prompt is data: make must not expand a $ in it, and the shell sees it only as an environment variable.
override PROMPT := $(value PROMPT)
export PROMPT

# The environment's own interpreter comes first, so that a new set-up does not change its version unasked.
CANDIDATES = $(or $(PYTHON),$(BIN)/python python3.11 python3.12 python3.13 python3)
define SET_UP
@for python in $(CANDIDATES); do \
	if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
		exec "$$python" set_up.py --venv "$(VENV)" $(1); \
	fi; \
done; \
echo "set-up: no Python 3.11, 3.12 or 3.13 among: $(CANDIDATES). Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make chat PYTHON=/path/to/python3.12" >&2; \
exit 1
endef

.PHONY: chat test lint format test-parity test-browser test-arm bench set-up link rebuild-llama clean help

chat: $(STAMP) ## answer PROMPT="...", or chat when there is none; ARGS="--think on" adds options
	@if [ -n "$$PROMPT" ]; then exec $(BIN)/edge-chat $(ARGS) -- "$$PROMPT"; else exec $(BIN)/edge-chat $(ARGS); fi

test: lint ## lint, format check, type check, tests; ARGS="-k name" goes to pytest
	$(BIN)/python -m pytest $(ARGS)

lint: $(DEV_STAMP) ## lint, format check, type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV_STAMP) ## rewrite the code to the format that lint wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-parity: $(TRAIN_STAMP) ## tests against torch and transformers, which this installs (gigabytes)
	$(BIN)/python -m pytest -m parity $(ARGS)

test-browser: $(BROWSER_STAMP) ## the kiosk's page in Debian's Chromium (apt install chromium fonts-noto-cjk)
	$(BIN)/python -m pytest -m browser $(ARGS)

test-arm: $(DEV_STAMP) ## the models and some tests on an emulated Arm machine (Debian 12)
	tests/arm/run.sh $(BIN)/python build/arm

bench: $(DEV_STAMP) ## measure what the README and the model card claim, and write it there (two hours or more)
	$(BIN)/edge bench think --json --float-checkpoint models/spark/checkpoint \
		--store docs/measured/think.json --card models/spark/checkpoint/README.md
	$(BIN)/edge bench think --json --model spark-hunyuan --float-checkpoint models/spark_hunyuan/checkpoint \
		--store docs/measured/think-hunyuan.json --card models/spark_hunyuan/checkpoint/README.md
	$(BIN)/edge bench speed --json --shape hunyuan-1.8b --folder runs --store docs/measured/speed.json
	$(BIN)/edge bench deadline --json --folder runs --picture docs/measured/deadline.png --store docs/measured/deadline.json
	@if [ -n "$(ROUTER_DATA)" ]; then \
		$(BIN)/edge bench router --json --data "$(ROUTER_DATA)" --store docs/measured/router.json; \
	else echo "the router is left out: ROUTER_DATA names no folder with its public prompts"; fi
	$(BIN)/edge bench quant --json --folder runs --store docs/measured/quant.json
	$(BIN)/edge bench serve --json --folder runs --store docs/measured/serve.json
	$(BIN)/edge bench devices --json --folder runs --store docs/measured/devices.json \
		$(if $(wildcard build/arm/found.jsonl),--arm build/arm/found.jsonl)
	$(BIN)/python -m bench_edge.readme --write

set-up: $(STAMP) ## only set up

link: $(STAMP) ## put edge and edge-chat into ~/.local/bin
	mkdir -p "$$HOME/.local/bin"
	ln -sf "$(abspath $(BIN)/edge)" "$(abspath $(BIN)/edge-chat)" "$$HOME/.local/bin/"

rebuild-llama: ## build or fetch llama-cpp-python again, with the variables below
	$(call SET_UP,--stamp "$(STAMP)" --rebuild-llama)

clean: ## remove the environment and what tools left behind; built wheels stay cached
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find edge quantize models bench_edge tests -name __pycache__ -prune -exec rm -rf {} +
	@[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)" "$(VENV).lock"

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
	@echo
	@echo 'Variables, as in: make chat VENV=/tmp/venv'
	@echo '  VENV             the environment (.venv)'
	@echo '  PYTHON           the interpreter for a new environment (the first of python3.11, 3.12, 3.13, python3 that fits)'
	@echo '  LLAMA_WHEEL      a ready llama-cpp-python wheel, path or URL, instead of compiling'
	@echo '  LLAMA_INDEX      URL of a package index with ready llama-cpp-python wheels'
	@echo '  CMAKE_ARGS       more options for the build, as in: make rebuild-llama CMAKE_ARGS=-DGGML_CUDA=on'
	@echo '  ROUTER_DATA      the folder of public prompts for make bench (models/router/README.md)'
	@echo '  EDGE_WHEEL_CACHE where built wheels are kept (~/.cache/edge-think/wheels)'

$(STAMP): pyproject.toml set_up.py set_up_llama.py
	$(call SET_UP,--stamp "$@")

$(DEV_STAMP): $(STAMP)
	$(call SET_UP,--stamp "$@" --extras dev)

$(BROWSER_STAMP): $(DEV_STAMP)
	$(call SET_UP,--stamp "$@" --extras dev browser)

$(TRAIN_STAMP): $(DEV_STAMP)
	$(call SET_UP,--stamp "$@" --extras dev train parity)
