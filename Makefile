# Two commands: `make reproduce` (every figure) and `make test`. `make help` lists the rest.
DATASET_TOLD := $(filter-out undefined,$(origin DATASET))
DATASET ?= mmlu-pro
DATA_DIR ?=
NAME := # never the environment's, where WSL keeps the machine's name
METRIC :=
ENCODER ?= minilm
SEED ?= 0
PRESET ?= default
PYTHON ?= python3
VENV ?= .venv
TORCH ?= $(if $(wildcard $(VENV)/.embedllm-cuda),cuda,cpu)
EXTRAS ?=

# A run's parameters go to Python in the environment, as they were typed: neither make nor a shell reads `$` in them.
PARAMETERS := DATASET DATA_DIR METRIC NAME ENCODER SEED PRESET
$(foreach name,$(PARAMETERS),$(eval override $(name) := $$(value $(name))))
export $(PARAMETERS)

KNOWN := $(PARAMETERS) PYTHON VENV TORCH EXTRAS EMBEDLLM_ARTIFACTS EMBEDLLM_FIGURES EMBEDLLM_TEST_DATA \
         LOKY_MAX_CPU_COUNT SHELL
UNKNOWN := $(strip $(foreach name,$(.VARIABLES),\
             $(if $(filter command,$(origin $(name))),$(filter-out $(KNOWN),$(name)))))
NEAREST = $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1))' \
            '$(subst ','\'',$(firstword $(UNKNOWN)))' $(KNOWN))
$(if $(UNKNOWN),$(error $(firstword $(UNKNOWN)) is no variable of this Makefile; \
  $(if $(NEAREST),did you mean $(NEAREST)?,make help lists them; parameters of notebooks go to papermill or a preset)))

# What names a folder has to be a name to make, to shells and to every file system.
DIGITS := 0 1 2 3 4 5 6 7 8 9
LETTERS := a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D E F G H I J K L M N O P Q R S T U V W X Y Z
less = $(if $(1),$(call less,$(wordlist 2,99,$(1)),$(subst $(firstword $(1)),,$(2))),$(2))# $(2) without the words $(1)
$(foreach name,DATASET NAME ENCODER SEED PRESET,\
  $(if $(call less,$(DIGITS) $(LETTERS) _ . -,$($(name)))$(filter .% -%,$($(name))),\
    $(error $(name) = "$($(name))" names a folder: letters, digits, _ . and - only, the first no . or -)))
$(if $(call less,$(DIGITS),$(SEED))$(filter 0%,$(filter-out 0,$(SEED))),\
  $(error SEED = "$(SEED)" must be plain digits without leading zeros))
ODD := ` ' " ; & | < > ( ) { } [ ] * ? ! ~ = ^ % : \ \# $$
odd = $(if $(word 2,$(1))$(subst x$(strip $(1))x,,x$(1)x),a blank,$(foreach mark,$(ODD),$(findstring $(mark),$(1))))
$(foreach name,EMBEDLLM_ARTIFACTS VENV,$(if $(strip $(call odd,$(value $(name)))),\
  $(error $(name) = "$(value $(name))" has in it what make cannot use: $(strip $(call odd,$(value $(name)))))))
ARTIFACTS := $(subst $(CURDIR)/,,$(abspath $(or $(value EMBEDLLM_ARTIFACTS),artifacts)))
$(if $(filter-out cpu cuda,$(TORCH)),$(error TORCH = "$(TORCH)" must be cpu or cuda))

BIN := $(VENV)/bin
RUN := $(ARTIFACTS)/$(or $(NAME),$(DATASET))/$(PRESET)-$(ENCODER)-s$(SEED)
EXECUTE := $(BIN)/python -m embedllm.study.execute
TORCH_PIN := $(shell sed -n 's/^ *"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)
TORCH_STEP := $(if $(filter cuda,$(TORCH)),$(TORCH_PIN),--no-deps --retries 1 -r requirements-torch.txt)
SETUP := $(VENV)/.embedllm-$(TORCH)
KNOWN_EXTRAS := data encoders
EXTRA_SETUP := $(EXTRAS:%=$(VENV)/.embedllm-extra-%)

NOTEBOOKS := 01_data_preparation 02_training 03_correctness_forecasting 04_model_routing 05_probing \
             06_embedder_ablation 07_sensitivity 08_method_checks 09_new_models
DONE := $(NOTEBOOKS:%=$(RUN)/%.done)

.PHONY: help setup reproduce check deep $(NOTEBOOKS) notebooks smoke bench test test-make test-slow lint lock lab cells publish clean distclean weights-mpnet weights-gemma encode-deep
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*##  *\(.*\)/  \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || grep -E '^[a-z-]+:.*##' Makefile
	@echo "one notebook and those it reads: make 05_probing"
	@printf '%s\n' "variables: DATASET=$$DATASET DATA_DIR=$$DATA_DIR METRIC=$$METRIC NAME=$$NAME ENCODER=$$ENCODER SEED=$$SEED PRESET=$$PRESET TORCH=$(TORCH)"

setup: $(SETUP) $(EXTRA_SETUP)  ## virtual environment with every package pinned (TORCH=cuda for a GPU, EXTRAS=data, encoders or both)

$(VENV)/.embedllm-extra-%: requirements-%.lock $(SETUP)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $<
	$(BIN)/python -m pip check
	@touch $@

$(SETUP): requirements.lock requirements-torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH_STEP)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@rm -f $(VENV)/.embedllm-*; touch $@

reproduce: $(SETUP)  ## run what has changed of all notebooks, write every figure
	@$(EXECUTE) inputs
	@$(MAKE) --no-print-directory notebooks

$(NOTEBOOKS): $(SETUP)
	@$(EXECUTE) inputs
	@$(MAKE) --no-print-directory $(RUN)/$@.done
	@$(EXECUTE) gallery

check: $(SETUP)  ## look at your data before anything runs, in seconds: make check DATA_DIR=...
	@$(if $(DATASET_TOLD),,unset DATASET; )$(BIN)/python -m embedllm.check

deep: $(SETUP)  ## what is too heavy for `reproduce`, kept beside its figures (resumed where it was interrupted)
	@$(MAKE) --no-print-directory reproduce PRESET=full

smoke: $(SETUP)  ## all notebooks on a small pool, to see that everything works
	@$(MAKE) --no-print-directory reproduce PRESET=smoke ENCODER=hashing DATASET=simulated

notebooks: $(RUN)/summary.done

$(RUN)/summary.done: $(DONE)
	@$(EXECUTE) summary
	@touch $@

$(DONE): $(RUN)/%.done: $(RUN)/inputs/%.sha $(RUN)/inputs/parameters.sha
	@$(EXECUTE) run $*

# A manifest of products keeps its time when nothing in it changed, so that what hangs off it rests.
$(NOTEBOOKS:%=$(RUN)/%.products): $(RUN)/%.products: $(RUN)/%.done
	@:

# What each notebook reads, beside its own code and the modules it imported (in the .d files).
TABLE := $(RUN)/01_data_preparation.products
$(RUN)/02_training.done: $(TABLE) $(ARTIFACTS)/inputs/bench.sha $(RUN)/inputs/deep.sha
$(RUN)/03_correctness_forecasting.done: $(TABLE) $(RUN)/inputs/deep.sha
$(RUN)/04_model_routing.done: $(TABLE) $(RUN)/02_training.products $(RUN)/03_correctness_forecasting.products \
                               $(ARTIFACTS)/inputs/bench.sha $(RUN)/inputs/deep.sha
$(RUN)/05_probing.done: $(TABLE) $(RUN)/02_training.products $(RUN)/inputs/deep.sha
$(RUN)/06_embedder_ablation.done: $(TABLE) $(ARTIFACTS)/inputs/bench.sha $(RUN)/inputs/deep.sha
$(RUN)/07_sensitivity.done: $(TABLE) $(RUN)/inputs/deep.sha
$(RUN)/08_method_checks.done: $(TABLE) $(RUN)/inputs/deep.sha
$(RUN)/09_new_models.done: $(TABLE) $(RUN)/inputs/deep.sha
# Read only after `inputs`, which deletes damaged ones.
ifneq ($(filter notebooks $(RUN)/%,$(MAKECMDGOALS)),)
-include $(wildcard $(RUN)/*.d)
endif

bench: $(SETUP)  ## time everything at the paper's size (some twenty minutes, best alone on the machine)
	$(BIN)/python -m embedllm.bench.report

test: $(SETUP)  ## unit tests, known answers, every notebook at smoke size
	$(BIN)/python -m pytest -m "not slow and not make" -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-make: $(SETUP)  ## an interrupted and a damaged run of two notebooks, on a copy of the repository (a minute)
	$(BIN)/python -m pytest -m make tests/study/test_make.py

test-slow: $(SETUP)  ## the long ones: false-alarm rates, interrupted runs, make's dependencies
	$(BIN)/python -m pytest -m slow

lint: $(SETUP)  ## ruff over code and notebooks
	$(BIN)/ruff check .

lock:  ## pin every package anew (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-emit-package torch --no-annotate --no-emit-index-url --upgrade \
	  --custom-compile-command "make lock" -o requirements.lock
	for extra in $(KNOWN_EXTRAS); do \
	  $(BIN)/python -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' $$extra \
	  | uv pip compile - --no-deps --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --no-emit-index-url --upgrade --custom-compile-command "make lock" -o requirements-$$extra.lock || exit 1; done

lab: $(SETUP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir . notebooks

cells: $(SETUP)  ## write the notebooks' parameter cells anew, after a change of parameters or catalog
	@$(EXECUTE) cells

publish:  ## make the default run's notebooks the committed ones, write the README's tables
	@$(MAKE) --no-print-directory reproduce DATASET=mmlu-pro DATA_DIR= METRIC= NAME= ENCODER=minilm SEED=0 PRESET=default
	@unset $(PARAMETERS); $(EXECUTE) publish

weights-mpnet: $(SETUP)  ## fetch the weights of the encoder mpnet (400 MB)
	$(BIN)/python -m embedllm.encoders.fetch mpnet

weights-gemma: $(SETUP)  ## fetch the weights of the language model Gemma 3 270M (240 MB, under Gemma's terms of use)
	$(BIN)/python -m embedllm.encoders.fetch gemma-mean

encode-deep: $(SETUP)  ## encode ahead what `make deep` compares in notebook 06 (an hour and more without a GPU; resumed)
	@$(MAKE) --no-print-directory 01_data_preparation PRESET=full
	@PRESET=full $(BIN)/python -m embedllm.study.encode

clean:  ## remove all runs (nothing that the study did not make)
	@$(PYTHON) src/embedllm/study/clean.py runs $(ARTIFACTS)

distclean:  ## remove runs, prompt vectors, downloads and the environment
	@$(PYTHON) src/embedllm/study/clean.py all $(ARTIFACTS)
