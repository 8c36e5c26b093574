# `make demo` and `make test` do all the set-up themselves; `make help` lists the rest.

PYTHON ?= python3
INPUTS ?= 300000
#: tests on a broker at once: they wait as much as they compute, so more than there are cores
AT_ONCE ?= 5

BIN := .venv/bin
#: several processes at once need no threads for their arithmetic: they would wait for each other
ALONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# tests start hundreds of workers, and each would compile this package anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-questions test lint docs wheel-test chaos chaos-cluster rehearsals trust audit-trust fit-check versions bench-thresholds bench-learned conformance bench bench-remote alerts lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## .venv with every dependency and the Kafka broker; PYTHON=python3.12 picks another Python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed, and $(PYTHON) is not one: name one, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) scripts/setup.py

demo: setup  ## the main job on real input, from requests to results and fallback
	@$(BIN)/bisupervised demo

demo-questions: setup  ## the second example: text in, text out, a chat model, likelihood scores
	@$(BIN)/bisupervised demo --example questions

test: setup lint  ## every check but the long ones, the quick ones first
	$(ALONE) $(BIN)/python -m pytest -n auto tests/unit tests/contract tests/property tests/packaging
	$(ALONE) $(BIN)/python scripts/wheel.py test
	$(BIN)/python -m pytest -n $(AT_ONCE) --one-broker --timeout 300 tests/integration tests/chaos

lint: setup  ## ruff, mypy --strict, which wing may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@mkdir -p build/types/bisupervised
	@for folder in schemas agents streams; do ln -sfn ../../../$$folder build/types/bisupervised/$$folder; done
	$(BIN)/mypy
	$(BIN)/mypy tests scripts benchmarks
	$(BIN)/lint-imports

docs: setup  ## what is generated from the code: the example of every option, schemas, tables of metrics
	$(BIN)/bisupervised config --out examples/bisupervised.toml
	$(BIN)/python -m bisupervised.schemas.jsonschema
	$(BIN)/python -m bisupervised.schemas.avroschema
	$(BIN)/python -m bisupervised.streams.commands.asyncapi
	$(BIN)/python scripts/tables.py

wheel-test: setup  ## the tests marked `wheel`, against the built wheel
	$(BIN)/python scripts/wheel.py test

chaos: FAULTS ?= 120
chaos: setup  ## kill, stop and restart everything: INPUTS=300000 FAULTS=120
	$(BIN)/python tests/chaos/run.py --inputs $(INPUTS) --faults $(FAULTS)
	$(BIN)/python tests/chaos/run.py --inputs 12000 --faults 8 --workers 3 --audit --tighten --out build/chaos-tighten.json

chaos-cluster: FAULTS ?= 48
chaos-cluster: setup  ## the same on three nodes, which fail one by one: FAULTS=48; puts its table into docs/chaos.md
	$(BIN)/python tests/chaos/run_cluster.py --faults $(FAULTS) --page docs/chaos.md

versions: setup  ## the pipeline on the versions of Kafka that people run, with kills: VERSIONS="2.8.2 3.9.1"
	$(BIN)/python tests/versions/run.py $(VERSIONS)

rehearsals: setup  ## every recorded prediction of the paper through the real pipeline, not only the first 2,000
	REHEARSAL_INPUTS=0 $(BIN)/python -m pytest -rP tests/integration/test_rehearsal.py

trust: setup  ## does the promised rate hold? calibrates on thousands of samples; fills docs/thresholds.md
	$(ALONE) $(BIN)/python -m scripts.trust

fit-check: setup  ## is the chosen score never worse, and the learned one harmless? fills docs/scores.md
	$(ALONE) $(BIN)/python -m scripts.fit_check

audit-trust: setup  ## does the audit notice, and cry wolf no more than it says? fills docs/audit.md, ladder.md and versions.md
	$(BIN)/python -m scripts.audit_trust

bench-thresholds: setup  ## the curve and both thresholds on a million rows, against a loop over candidates
	$(BIN)/python -m benchmarks.thresholds

bench-learned: setup  ## what a learned score costs an event, in build/learned.json
	$(ALONE) $(BIN)/python -m benchmarks.learned

conformance: setup  ## our protocols against servers of others, which are installed below build/: SERVERS=apicurio
	$(BIN)/python tests/conformance/conformance.py $(SERVERS)

bench: setup  ## how fast it is, beside other libraries: build/bench.json, and the tables of BENCHMARKS.md and docs/benchmark-figures.md
	$(BIN)/python scripts/peers.py
	$(BIN)/python -m benchmarks.bench

bench-remote: setup  ## how well the remote call uses its limits, in build/remote.json
	$(BIN)/python -m benchmarks.remote

alerts:  ## each alert rule is seen to fire, by promtool, which comes with Prometheus
	@command -v promtool >/dev/null || { echo "promtool is not here: it comes with Prometheus" >&2; exit 1; }
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts_test.yml

lock:  ## resolve the dependencies anew into requirements/
	@$(PYTHON) scripts/lock.py

clean:  ## remove what was made here, but not the broker's jars in the user's cache
	rm -rf .venv build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find schemas agents streams tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
