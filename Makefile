# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
BIN := node_modules/.bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run install build test check format proto bench bench-compare bench-flow bench-clients clients sim damage mutate clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

# npm writes this file last: it is as new as the installed packages.
node_modules/.package-lock.json: package.json package-lock.json clients/typescript/package.json
	@# Not `npm ci`: it refuses a lock file without the tools' binaries for every other platform.
	npm install --no-save --loglevel=error
	@touch $@

install: node_modules/.package-lock.json ## Install the packages of the lock file

build: install ## Compile to dist/
	@tsc -b
	@chmod +x dist/src/cli/main.js

run: build ## Start a broker on ./data
	@dist/src/cli/main.js serve

test: build ## Everything: checks, unit, contract, integration, fault tests
	@$(MAKE) --no-print-directory check
	@mocha

check: build ## Format, lint, types, layers, documents, buf lint, buf breaking, generated code, clients
	@biome check --error-on-warnings .
	@mocha --no-config --reporter dot 'dist/test/unit/*.test.js'
	@buf lint
	@buf format --diff --exit-code
	@scripts/check-breaking
	@scripts/check-generated
	@scripts/check-clients

format: install ## Format everything in place
	@biome check --write .
	@buf format --write

proto: install ## Generate code from proto/ for src/ and the TypeScript client
	@buf generate
	@buf generate --template clients/typescript/buf.gen.yaml

bench: build ## Measure: table and JSON
	@node dist/bench/main.js

bench-compare: build ## Compare with another commit: BASE=commit, CASES="…" (all), PAIRS=n (10), SECONDS=n (5) a run
	@node dist/bench/compare/main.js --base '$(BASE)' --cases '$(CASES)' \
	  $(if $(PAIRS),--pairs '$(PAIRS)') $(if $(SECONDS),--seconds '$(SECONDS)')

bench-flow: build ## Measure flow control: stalls, slow disks, many streams; draws docs/flow/*.svg
	@node dist/bench/flow/main.js

clients: build ## Build and test the clients of all languages, each with each
	@mocha --no-config --reporter dist/test/support/reporter.cjs --timeout 60000 'dist/test/clients/**/*.test.js' 'dist/clients/**/*.test.js'

bench-clients: build ## Measure the clients of all languages
	@node dist/bench/clients/main.js

sim: build ## Simulate: SEED=n one run in full, SEEDS=n so many (200) from FIRST on
	@SEED=$(SEED) SEEDS=$(SEEDS) FIRST=$(FIRST) node dist/test/simulation/main.js

damage: build ## Damage stores: RUNS=n so many (60) from SEED=n on; RUNS=1 repeats one in full
	@DAMAGE_RUNS=$(or $(RUNS),$(DAMAGE_RUNS)) SEED=$(SEED) KEEP=$(KEEP) KIND=$(KIND) VERBOSE=$(VERBOSE) node dist/test/fault/damage/main.js

mutate: install ## Mutation tests: FILES="…" (core, broker, storage), SAMPLE=n mutants (all) drawn from SEED=n (1)
	@FILES='$(FILES)' TESTS='$(TESTS)' SAMPLE='$(SAMPLE)' SEED='$(SEED)' CONCURRENCY='$(CONCURRENCY)' stryker run scripts/stryker.config.js

clean: ## Remove what was built
	rm -rf dist clients/typescript/dist
