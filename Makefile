# One environment, .venv, for everything. Each target makes it if it is missing, or when what it is
# made from has changed: a fresh machine needs make and a Python of 3.11 or newer, nothing else.

.DEFAULT_GOAL := help
.PHONY: help setup api demo quality pictures screenshots operations test model majors chaos failover drills bench bench-scale bench-families bench-limits bench-page capacity check format schema lock clean

BIN     := .venv/bin
STAMP   := .venv/.made
INSTALL := -c constraints.txt -e '.[web,embedded]' -e apps/adstudio --group dev

# The benchmark's own: peers bring dependencies that the product must not have.
BENCH         := .venv-bench/bin
BENCH_STAMP   := .venv-bench/.made
BENCH_INSTALL := -c benchmarks/constraints.txt -e '.[embedded]' --group bench

# The caller's arguments, letter for letter: the shell reads them from its environment, never as code.
export DEMO_PHOTO := $(value PHOTO)
export DEMO_COPY  := $(value COPY)
export CHAOS_SEED   := $(value SEED)
export CHAOS_FAULTS := $(value FAULTS)
export CHAOS_REPORT := $(value REPORT)
unexport PHOTO COPY SEED FAULTS REPORT

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make or refresh the environment

demo: $(STAMP) ## a finished ad from a photo: make demo [PHOTO=cup.jpg COPY="Wake up."]
	@$(BIN)/adstudio demo $${DEMO_PHOTO:+--photo "$$DEMO_PHOTO"} $${DEMO_COPY:+--copy "$$DEMO_COPY"}

quality: $(STAMP) ## make and judge the quality set: values, times, contact sheets: make quality [FOLDER=my-photos]
	$(BIN)/adstudio quality $(or $(FOLDER),apps/adstudio/quality) --out build/quality

pictures: $(STAMP) ## make the picture of the README again, docs/images/ads-set.jpg, from the golden images
	$(BIN)/python apps/adstudio/quality/montage.py docs/images/ads-set.jpg

# Where bytecode is not kept, every process that is started compiles what it imports: the tests' own 12 s of it, and not 4,
# in each of their processes.
export PYTHONDONTWRITEBYTECODE =

# Tests wait more than they compute: five processes for two cores, each with a server of its own, a file in one of them.
# Files begin in the order of conftest.py, the long ones first.
JOBS ?= 5

test: $(STAMP) ## run the tests, against a real Postgres: make test [ARGS="-k claim -x" JOBS=1]
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

majors: $(STAMP) ## the engine's core tests on Postgres 14 to 17 (root, npm): make majors [ARGS="--majors 14 --only turn,trigger"]
	@PYTHONPATH=tests $(BIN)/python -m majors $(ARGS)

chaos: $(STAMP) ## attack everything for ten minutes: make chaos [SEED=7 FAULTS=worker_killed,disk_full REPORT=chaos.md]
	@PYTHONPATH=tests $(BIN)/python -m chaos $${CHAOS_SEED:+--seed "$$CHAOS_SEED"} \
		$${CHAOS_FAULTS:+--faults "$$CHAOS_FAULTS"} $${CHAOS_REPORT:+--report "$$CHAOS_REPORT"}

failover: $(if $(PEER),$(BENCH_STAMP)) $(STAMP) ## fail a cluster of three over, in seven ways: make failover [SEED=7 ROUNDS=2 FAULTS=primary_killed PEER=pgqueuer]
	@PYTHONPATH=tests $(if $(PEER),$(BENCH),$(BIN))/python -m chaos.failover $(if $(PEER),--peer $(PEER)) $${CHAOS_SEED:+--seed "$$CHAOS_SEED"} \
		$${CHAOS_FAULTS:+--faults "$$CHAOS_FAULTS"} --rounds $(or $(ROUNDS),1)

drills: $(STAMP) ## restore, copy and upgrade a database whose jobs are under way, in four ways (needs root and Debian's postgresql)
	@PYTHONPATH=tests $(BIN)/python -m chaos.moves

bench: $(BENCH_STAMP) ## measure beside the peers: make bench [ARGS="--only limit,pgbaton --rounds 1"]
	@$(BENCH)/python -m benchmarks hops $(ARGS)

bench-scale: $(BENCH_STAMP) ## measure backlog, bloat, idle workers and bulk: make bench-scale [ARGS="--only bulk"]
	@$(BENCH)/python -m benchmarks scale $(ARGS)

bench-families: $(BENCH_STAMP) ## measure children against plain rows: make bench-families [ARGS="--size 0.2"]
	@$(BENCH)/python -m benchmarks.families $(ARGS)

bench-limits: $(BENCH_STAMP) ## measure what limits cost, beside the peers' own: make bench-limits [ARGS="claims --size 0.1"]
	@$(BENCH)/python -m benchmarks.limits $(ARGS)

bench-page: $(STAMP) ## time the page when there is much and 20 look: make bench-page [ARGS="--size 0.1"]
	@$(BIN)/python -m benchmarks.page $(ARGS)

capacity: $(BENCH_STAMP) ## measure what a hop costs Postgres, for pgbaton capacity: make capacity [ARGS="--keep"]
	@$(BENCH)/python -m benchmarks.capacity $(ARGS)

check: $(STAMP) ## lint, format, types, imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## put the code into the house's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

screenshots: $(STAMP) ## pictures of the page, into docs/images (needs Chromium)
	$(BIN)/python tests/browser/screenshots.py docs/images

operations: $(STAMP) ## break a running app-yh in five ways and mend it from the page, with pictures (needs Chromium)
	$(BIN)/python tests/browser/operations.py docs/images

api: $(STAMP) ## after a change of a public docstring or a finding: write docs/api.md and the index of findings again
	$(BIN)/python tools/write_api_page.py
	$(BIN)/python tools/write_findings.py

schema: $(STAMP) ## after a change of sql/tables, protocol.sql or the trigger: write db/init/02_… again
	$(BIN)/python tools/write_init_sql.py

lock: $(BIN)/uv ## bring constraints.txt up to date
	printf '%s\n' '-e .[web,embedded]' '-e apps/adstudio' uv | \
	$(BIN)/uv pip compile - --quiet --upgrade --group dev --universal --python-version 3.11 \
		--no-annotate --no-header --no-emit-package pgbaton --no-emit-package adstudio --output-file constraints.txt
	printf '%s\n' '-e .[embedded]' | \
	$(BIN)/uv pip compile - --quiet --upgrade --group bench --universal --python-version 3.11 \
		--no-annotate --no-header --no-emit-package pgbaton --output-file benchmarks/constraints.txt

model: ## check the protocol's model (needs spin and gcc): make model [ARGS="broken-seen"]
	models/check.sh $(ARGS)

clean: ## remove the environment and what tools leave behind; not the demo's ads
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find src apps tests -name __pycache__ -type d -prune -exec rm -rf {} +

# uv is quick; pip steps in where only pip knows the way (a company's index, say).
$(STAMP): pyproject.toml apps/adstudio/pyproject.toml constraints.txt | $(BIN)/uv
	@echo "Installing into .venv"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python $(INSTALL) || { \
		$(BIN)/python -m pip install --quiet --upgrade pip && $(BIN)/python -m pip install --quiet $(INSTALL); }
	@touch $@

# Oban needs Python 3.12: the newest that is here, or that uv can get; else the rest go without it.
$(BENCH_STAMP): pyproject.toml benchmarks/constraints.txt | $(BIN)/uv
	@echo "Installing into .venv-bench"
	@for python in $(BENCH_PYTHON) python3.13 python3.12 \
			$(foreach version,3.13 3.12,$(wildcard $(HOME)/.pyenv/versions/$(version).*/bin/python)) 3.13 $(BIN)/python; do \
		$(BIN)/uv venv --quiet --clear --python "$$python" .venv-bench 2>/dev/null && break; \
	done
	@$(BIN)/uv pip install --quiet --python $(BENCH)/python $(BENCH_INSTALL)
	@touch $@

$(BIN)/uv:
	@found=; bare=; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
		if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$python; break; fi; \
		bare=$$python; \
	done; \
	if [ -n "$$found" ]; then \
		echo "Making .venv with $$found"; \
		"$$found" -m venv .venv && $(BIN)/python -m pip install --quiet -c constraints.txt uv; \
	elif [ -n "$$bare" ]; then \
		echo "$$bare lacks the module ensurepip (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; \
	else \
		echo "No Python of 3.11 or newer found; say which with: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi
