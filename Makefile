# Two commands do everything:  make compare   make test
# Each builds .venv by itself when it is missing or requirements.txt has changed.

PYTHON ?= python3
FRAMEWORK ?= jax
SUBMISSIONS ?= adamw,nadamw,shampoo,asgo,caspr,adadiag
WORKLOADS ?= ogbg_small,wmt_small,c4_small,imagenet_resnet_small,imagenet_vit_small
EXPERIMENT_DIR ?= experiments
EXPERIMENT_NAME ?= compare_$(FRAMEWORK)
DATA_DIR ?= data
JOBS ?= 2
PYTEST_ARGS ?= -n 2
COMPARE_ARGS ?=
OFFICIAL_PYTHON ?= python

BIN := .venv/bin

.PHONY: compare test test-latest test-cross-checks test-official lint clean

compare: .venv
	$(BIN)/python scripts/compare.py --submissions=$(SUBMISSIONS) --workloads=$(WORKLOADS) \
	  --framework=$(FRAMEWORK) --experiment_dir=$(EXPERIMENT_DIR) \
	  --experiment_name=$(EXPERIMENT_NAME) --data_dir=$(DATA_DIR) --jobs=$(JOBS) $(COMPARE_ARGS)

test: .venv
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The newest JAX, flax and optax in a second environment.
test-latest: .venv-latest
	.venv-latest/bin/python -m pytest $(PYTEST_ARGS)

# Tests against other packages' optimizers, in a third environment; `make test` skips them.
test-cross-checks: .venv-cross-checks
	.venv-cross-checks/bin/python -m pytest $(PYTEST_ARGS) tests/cross_checks

# Tests that need AlgoPerf's harness; OFFICIAL_PYTHON is the Python of an environment with it.
test-official:
	$(OFFICIAL_PYTHON) -m pytest -m official

lint: .venv
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

.venv: .venv/.stamp
.venv/.stamp: requirements.txt constraints.txt
	$(PYTHON) -c "import sys; sys.exit('matprec needs Python 3.11 or newer; this is ' + sys.version.split()[0] + ' (set PYTHON=)' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt -c constraints.txt
	touch $@

.venv-latest: .venv-latest/.stamp
.venv-latest/.stamp: requirements.txt
	$(PYTHON) -m venv .venv-latest
	grep -vE '^(jax|jaxlib|flax|optax)==' requirements.txt > .venv-latest/requirements.txt
	.venv-latest/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r .venv-latest/requirements.txt --upgrade jax flax optax
	touch $@

.venv-cross-checks: .venv-cross-checks/.stamp
.venv-cross-checks/.stamp: requirements-cross-checks.txt requirements.txt constraints.txt
	$(PYTHON) -m venv .venv-cross-checks
	grep -E '^(absl-py|array-api-compat|numpy|pytest.*|scipy|torch)==' requirements.txt \
	  > .venv-cross-checks/requirements.txt
	.venv-cross-checks/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r .venv-cross-checks/requirements.txt -c constraints.txt
	.venv-cross-checks/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps -r requirements-cross-checks.txt
	touch $@

clean:
	rm -rf .venv .venv-latest .venv-cross-checks experiments data
