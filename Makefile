# Everything below sets itself up: a virtual environment in .venv, filled from the hash-pinned requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet


.PHONY: pictures profile readme install chaos faults fuzz bench soak openapi help demo test check lint format clean ops

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## / — /'

$(VENV)/.runtime: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

install: $(VENV)/.runtime  ## .venv with the command relay

demo: $(VENV)/.runtime  ## sandbox + relay + sample traffic, told as a story; ends by itself
	$(BIN)/relay demo

# What must not happen twice depends on these: every branch of them is taken.
PINNED = relay/domain/codes.py,relay/smsclone/answers.py,relay/smsclone/transport.py,relay/smsclone/exchange.py,$\
	relay/smsclone/http_answer.py,relay/smsclone/connection.py,relay/smsclone/dialer.py,relay/journal/calls.py,$\
	relay/journal/claims.py,relay/journal/planning.py,relay/journal/queueing.py,relay/journal/ending.py

test: $(VENV)/.dev  ## every test that needs no service, no account and no Docker; COVERAGE=1, as in CI: and what they reach
ifndef COVERAGE
	$(BIN)/python -m pytest -n auto --dist loadfile
else
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n auto --dist loadfile
	$(BIN)/coverage combine -q
	$(BIN)/coverage report
	$(BIN)/coverage report --include $(PINNED) --fail-under 100
endif

check: lint  ## lint, types, import contracts, quick tests: under a minute
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" tests/unit tests/house

lint: $(VENV)/.dev  ## format, lint, types, import contracts, known holes in dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/audit.py

format: $(VENV)/.dev  ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ops: $(VENV)/.dev  ## image, manifests, alert rules, dashboard: hadolint, kubectl, kubernetes-validate, promtool
	@for tool in kubectl promtool; do command -v $$tool > /dev/null || echo "missing: $$tool; its checks are skipped"; done
	$(BIN)/python -m pytest tests/ops

# The shipped list again, for the ConfigMap: kustomize takes no file from outside its folder.
k8s/base/blocked_words.toml: relay/domain/default_words.toml
	cp $< $@

# The rules are kept once; the resource for the Prometheus Operator is a copy, two columns to the right.
k8s/components/prometheus-rule/prometheus-rule.yaml: k8s/components/prometheus-rule/head.yaml k8s/monitoring/relay.rules.yaml
	{ cat $<; sed 's/^./  &/' k8s/monitoring/relay.rules.yaml; } > $@

KILLS ?= 200
chaos: $(VENV)/.dev  ## SIGKILLs at random moments under load, on both stores (KILLS=200)
	PYTHONPATH=tests $(BIN)/python tests/chaos.py --kills $(KILLS)

faults: $(VENV)/.dev  ## every fault of the catalogue in its long form, as a table (KEEP=--keep: for the README)
	PYTHONPATH=tests $(BIN)/python tests/fault_table.py $(KEEP)

MINUTES ?= 5
fuzz: $(VENV)/.dev  ## bytes and requests that nobody meant, for about so long (MINUTES=5)
	RELAY_TEST_CASES=$$(($(MINUTES) * 2000000)) RELAY_TEST_EXAMPLES=$$(($(MINUTES) * 100)) \
		$(BIN)/python -m pytest tests/fuzz -n auto

NOTIFICATIONS ?= 10000
bench: $(VENV)/.dev  ## speed and memory against the plain app, in one run (nginx-light from Debian)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/bench.py --notifications $(NOTIFICATIONS)
	$(BIN)/python tests/benchmarks/bench_prefilter.py

SOAK ?= 100000
soak: $(VENV)/.dev  ## how memory grows over many notifications (SOAK=100000)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/bench.py --soak $(SOAK)

profile: $(VENV)/.dev  ## where the CPU of one notification goes, stage by stage (nginx-light from Debian)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/bench_stages.py

readme: $(VENV)/.dev  ## write the README's tables anew
	PYTHONPATH=tests $(BIN)/python tests/readme_tables.py
	PYTHONPATH=tests $(BIN)/python tests/fault_table.py --readme

pictures: $(VENV)/.dev  ## the inbox and the reference page, photographed (Debian: chromium)
	PYTHONPATH=tests $(BIN)/python tests/make_pictures.py

openapi: $(VENV)/.runtime  ## write openapi/openapi.json anew
	$(BIN)/relay openapi --output openapi/openapi.json

clean:  ## the virtual environment and what tools left behind
	rm -rf $(VENV) .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
