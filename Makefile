# Everything below sets itself up: a virtual environment in .venv, filled from the hash-pinned requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet


.PHONY: usage-sum moves pairs sim sim-planted model path scale sbom pictures profile readme install chaos faults fuzz bench soak openapi help demo test check lint format clean ops

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
PINNED = relay/domain/codes.py,relay/smsclone/upstream_answers.py,relay/smsclone/transport.py,relay/smsclone/exchange.py,$\
	relay/smsclone/http_answer.py,relay/smsclone/connection.py,relay/smsclone/dialer.py,relay/journal/calls.py,$\
	relay/journal/claims.py,relay/journal/queueing.py,relay/journal/ending.py,$\
	relay/sending/accept.py,relay/sending/dial.py,relay/sending/record.py,relay/sending/end.py,$\
	relay/sending/channels.py,relay/sending/delivery.py,relay/sending/follow_up.py,relay/sending/recover.py,relay/sending/breaker.py,$\
	relay/sending/queue.py

# Most tests wait, for a process or a clock, so that there are two workers a core. The long files come first in the
# alphabet, and the many short ones of tests/unit fill what is left.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev  ## every test that needs no service, no account and no Docker; COVERAGE=1, as in CI: and what they reach
ifndef COVERAGE
	$(BIN)/python -m pytest $(SPREAD)
else
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(SPREAD)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report
	$(BIN)/coverage report --include $(PINNED) --fail-under 99
endif

check: lint  ## lint, types, import contracts, quick tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" tests/unit tests/house

lint: $(VENV)/.dev  ## format, lint, types, import contracts, known holes in dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/tools/audit.py

format: $(VENV)/.dev  ## what ruff can mend by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/ruff check .

ops: $(VENV)/.dev  ## image, manifests, alert rules, dashboard: hadolint, kubectl, kubernetes-validate, promtool
	@for tool in kubectl promtool; do command -v $$tool > /dev/null || echo "missing: $$tool; its checks are skipped"; done
	RELAY_TEST_GENERATORS=1 $(BIN)/python -m pytest tests/ops

# The shipped list again, for the ConfigMap: kustomize takes no file from outside its folder.
k8s/base/blocked_words.toml: relay/domain/words/default_words.toml
	cp $< $@

# The rules are kept once; the resource for the Prometheus Operator is a copy, two columns to the right.
k8s/components/prometheus-rule/prometheus-rule.yaml: k8s/components/prometheus-rule/head.yaml k8s/monitoring/relay.rules.yaml
	{ cat $<; sed 's/^./  &/' k8s/monitoring/relay.rules.yaml; } > $@

model:  ## every order of what may happen to a notification, with and without each guard (Debian: spin, gcc)
	$(PYTHON) tests/model/check.py --keep

SEEDS ?= 20000
sim: $(VENV)/.dev  ## the relay's own code in simulated time under every fault (SEEDS=20000, or OPERATIONS=3: every crash point)
	PYTHONPATH=tests $(BIN)/python -m sim.simulate --seeds $(SEEDS) $(if $(OPERATIONS),--operations $(OPERATIONS))

$(VENV)/.mutants: requirements-mutants.txt $(VENV)/.dev
	$(PIP) install --require-hashes --no-deps -r requirements-mutants.txt
	@touch $@

# One mutant is seconds, one of the journal up to twenty; all of them are hours. Begun again, it goes on where it was.
ONLY ?= relay.sending.follow_up.* relay.sending.recover.* relay.sending.breaker.*
mutants: $(VENV)/.mutants  ## wrong variants of the code that decides about sends, and the tests that miss them (ONLY="relay.journal.claims.*")
	$(BIN)/mutmut run $(ONLY)
	$(BIN)/mutmut results

SIMULATED ?= 0
moves: $(VENV)/.dev  ## what the suites of journal and faults do to the journal's rows, against the model (SIMULATED=120000: seeds too)
	PYTHONPATH=tests $(BIN)/python tests/tools/moves.py --seeds $(SIMULATED)

PAIRS ?= 10000
pairs: $(VENV)/.dev  ## runs that differ in what is secret alone, held against each other byte for byte (PAIRS=10000)
	PYTHONPATH=tests $(BIN)/python -m sim.simulate --pairs --seeds $(PAIRS)

sim-planted: $(VENV)/.dev  ## wrong variants and leaks: after how many seeds the simulation finds each (Debian: patch)
	PYTHONPATH=tests $(BIN)/python -m sim.hunt
	PYTHONPATH=tests $(BIN)/python -m sim.hunt --leaks

KILLS ?= 200
chaos: $(VENV)/.dev  ## SIGKILLs at random moments under load, on both stores (KILLS=200)
	PYTHONPATH=tests $(BIN)/python tests/tools/chaos.py --kills $(KILLS)

faults: $(VENV)/.dev  ## every fault of the catalogue in its long form, as a table (KEEP=--keep: for their page)
	PYTHONPATH=tests $(BIN)/python tests/tools/fault_table.py $(KEEP)

MINUTES ?= 5
fuzz: $(VENV)/.dev  ## bytes, requests and examples that nobody meant, for about so long (MINUTES=5)
	RELAY_TEST_CASES=$$(($(MINUTES) * 2000000)) RELAY_TEST_EXAMPLES=$$(($(MINUTES) * 100)) \
		$(BIN)/python -m pytest tests/fuzz -n auto
	RELAY_TEST_EXAMPLES=$$(($(MINUTES) * 100)) $(BIN)/python -m pytest tests/unit -m hypothesis -n auto

CALLS ?= 100000
usage-sum: $(VENV)/.dev  ## very many messages over clients, codes, routes, accounts and days: the usage beside the ledgers (CALLS=100000)
	PYTHONPATH=tests $(BIN)/python tests/tools/usage_sum.py --calls $(CALLS)

NOTIFICATIONS ?= 10000
RUNS ?= 1
bench: $(VENV)/.dev  ## speed and memory against plain app, Kannel and targets; the worst of RUNS=5 (Debian: nginx-light, kannel)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/bench.py --notifications $(NOTIFICATIONS) --runs $(RUNS)
	$(BIN)/python tests/benchmarks/bench_prefilter.py

ROWS ?= 1000000
scale: $(VENV)/.dev  ## what a full journal costs beside a small one, on both stores (ROWS=1000000)
	$(BIN)/python tests/benchmarks/scale.py $(ROWS)
	$(BIN)/python tests/benchmarks/scale.py $(ROWS) --postgres

BEFORE ?=
neighbours: $(VENV)/.dev  ## what a quiet client feels of busy ones (BEFORE=a checkout to compare with; KEEP=--write: for its page)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/neighbours.py $(KEEP) \
		$(if $(BEFORE),--before $(BEFORE))

SOAK ?= 100000
soak: $(VENV)/.dev  ## how memory grows over many notifications (SOAK=100000)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/bench.py --soak $(SOAK)

profile: $(VENV)/.dev  ## where the CPU of one notification goes, stage by stage (nginx-light from Debian)
	PYTHONPATH=tests:tests/benchmarks $(BIN)/python tests/benchmarks/bench_stages.py

readme: $(VENV)/.dev  ## write the tables of the pages anew: settings, problems, faults
	PYTHONPATH=tests $(BIN)/python tests/tools/readme_tables.py
	PYTHONPATH=tests $(BIN)/python tests/tools/fault_table.py --readme

pictures: $(VENV)/.dev  ## inbox, reference page, console and commands, photographed (Debian: chromium)
	PYTHONPATH=tests $(BIN)/python tests/tools/make_pictures.py

path: $(VENV)/.dev  ## the way of one send through the code: functions, files, changes of package, types
	PYTHONPATH=tests $(BIN)/python tests/tools/path.py --list

openapi: $(VENV)/.runtime  ## write openapi/openapi.json anew
	$(BIN)/relay openapi --output openapi/openapi.json

sbom: $(VENV)/.dev  ## what the image holds beside Python and Debian, as CycloneDX: dist/relay.cdx.json (OTEL=1)
	@mkdir -p dist
	PYTHONPATH=tests $(BIN)/python tests/tools/sbom.py $(if $(OTEL),requirements-otel.txt) > dist/relay.cdx.json

clean:  ## the virtual environment and what tools left behind
	rm -rf $(VENV) .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
