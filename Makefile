# Two commands are all a newcomer needs: `make run` and `make test`. Each sets up what it needs first.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export WAREHOUSE_DATA ?= data
RAW = $(or $(WAREHOUSE_RAW),$(WAREHOUSE_DATA)/raw)
SAMPLE_DAY := 2026-11-21
SAMPLE_EVE := 2026-11-20

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## install everything into .venv, from hash-checked pins

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The first run takes the sample for raw data, in two nights, so that there is something that came late: the night before its
# last day lacks that day and the files named late-*. As long as the sample is all there is, windows end with its last day.
FIRST := $(WAREHOUSE_DATA)/sample.part
$(WAREHOUSE_DATA)/.sample: | $(VENV)/.ready
	@case "$(RAW)" in *://*) exit 0;; esac; if [ ! -e "$(RAW)" ]; then \
		echo "No raw data at $(RAW) yet: taking the sample. The night before its last day, without what comes late:" \
		&& rm -rf "$(FIRST)" && mkdir -p "$(FIRST)" "$(dir $(RAW))" && cp -R data/sample/raw/. "$(FIRST)" \
		&& rm -rf "$(FIRST)"/*/dt=$(SAMPLE_DAY) "$(FIRST)"/*/*/late-* \
		&& said=$$(WAREHOUSE_RAW="$(FIRST)" $(BIN)/warehouse run --as-of $(SAMPLE_EVE)) \
		&& echo "$$said" | sed '/^Rejected records/,$$d' \
		&& cp -R data/sample/raw/. "$(FIRST)" && mv "$(FIRST)" "$(RAW)" && echo $(SAMPLE_DAY) > $@ \
		&& echo && echo "The night of the last day, with all that is there:"; fi

run: setup  ## run the nightly job on <data>/raw (at first a copy of the sample), and show what came out
	@$(MAKE) --silent --no-print-directory $(WAREHOUSE_DATA)/.sample
	@$(BIN)/warehouse run $$(test -e $(WAREHOUSE_DATA)/.sample && diff -rq data/sample/raw "$(RAW)" > /dev/null \
		&& echo --as-of $$(cat $(WAREHOUSE_DATA)/.sample))

test: setup  ## run every test (TEST="--cov" measures what they run of the parts that must be right)
	$(BIN)/python -m pytest -n auto --dist worksteal $(TEST)

test-fast: setup  ## units, models and conventions, in a minute or so: the inner loop
	$(BIN)/python -m pytest -n auto --dist worksteal -m fast

test-spark: $(VENV)/.spark  ## the same tables on a Spark cluster (master, two workers, Connect server on this machine; needs Java 17)
	WAREHOUSE_TEST_SPARK=$${WAREHOUSE_TEST_SPARK:-1} $(BIN)/python -m pytest tests/spark $(TEST)

$(VENV)/.spark: $(VENV)/.ready requirements-spark.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	@touch $@

soak: setup  ## the tests that try at random, for long (kills, odd files); SOAK="-k crash" to choose, WAREHOUSE_SOAK=10 for ten times as much
	WAREHOUSE_SOAK=$${WAREHOUSE_SOAK:-1} $(BIN)/python -m pytest -n auto --dist worksteal --timeout 7200 -m soak $(SOAK)

lint: setup  ## style, types and what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup  ## measure loads against a bare scan and peers (BENCH="--events 60000 --runs 1" for less; docs/performance.md)
	$(BIN)/python -m benchmarks.load $(BENCH)

bench-portal: setup  ## measure the portal's pages at 100,000 companies (BENCH="--companies 20000" to change the size)
	$(BIN)/python -m benchmarks.portal $(BENCH)

bench-push: setup  ## measure pushes of 100,000 contacts to the HubSpot emulator (BENCH="--contacts 10000" for fewer)
	$(BIN)/python -m benchmarks.push $(BENCH)

bench-year: setup  ## measure a year of nights: do run time and file sizes grow no faster than the data?
	$(BIN)/python -m benchmarks.year $(BENCH)

ui: setup  ## Dagster's UI on the warehouse, on this machine only
	$(BIN)/warehouse ui

portal: setup  ## companies, users and the rest as web pages, on this machine only
	$(BIN)/warehouse portal

site: setup  ## a static site of the tables, their lineage and the documentation, in build/site
	$(BIN)/warehouse docs --out build/site

sample: setup  ## make data/sample/raw anew
	rm -rf data/sample/raw && $(BIN)/python -m dagster_project.standins.sample data/sample/raw

lock: setup  ## resolve the pins anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate --no-header \
		--extra dev pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate --no-header \
		--extra dev --extra spark --constraint requirements.lock pyproject.toml --output-file requirements-spark.lock

clean:  ## remove the environment and caches; data stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .bench build *.egg-info

.PHONY: help setup run test test-fast test-spark soak lint bench bench-year bench-push bench-portal ui portal site sample lock clean
