# Type "make" for the list of targets.

GO ?= go
T  ?= 30s

.DEFAULT_GOAL := help
.PHONY: help bench build demo test race vet lint kill sim sim-suite sim-seeds sim-teeth sim-night fuzz policy vectors interop

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

bench: ## the same work on dmls and on mls-go, side by side (--full: up to 100,000 members)
	cd bench && $(GO) run .

build: ## build the daemon as bin/dmlsd
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/dmlsd ./cmd/dmlsd

demo: ## five daemons chat, are cut in two, heal and agree
	$(GO) run ./cmd/dmlsd demo

test: ## all tests
	$(GO) test ./...

race: ## all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

vet: ## go vet
	$(GO) vet ./...

lint: vet ## gofmt, go vet and staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) tool staticcheck ./...

kill: ## 500 writing processes are killed, and their store is looked at
	DMLS_STORE_KILLS=500 $(GO) test -count=1 -v -timeout 60m -run '^TestKill$$' ./store

sim: ## 1,000 seeded simulations of 8 members
	$(GO) run ./cmd/dmlsd sim run --members 8 --seeds 1..1000

sim-suite: ## 1,000 seeds over all classes and adversaries; seeds known as open are forgiven
	DMLS_SIM_SUITE=1000 GOGC=400 $(GO) test -count=1 -v -timeout 30m -run '^TestSuite$$' ./sim

sim-seeds: ## every seed that broke a promise once (sim/testdata/seeds.txt), also the open ones
	DMLS_SIM_OPEN=1 $(GO) test -count=1 -v -run '^TestPermanentSeeds$$' ./sim

sim-teeth: ## takes one defence after the other out of the engine: the sieges must show it (minutes)
	DMLS_SIM_TEETH=1 $(GO) test -count=1 -v -timeout 30m -run '^TestTeeth$$' ./sim

sim-night: ## 10,000 seeds over all classes and adversaries, with a summary by class
	$(GO) run ./cmd/dmlsd sim run --scenario suite --seeds 1..10000

fuzz: ## every fuzz target for T each (make fuzz T=30s)
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "== $$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(T) $$p; \
		done; \
	done

policy: ## who may import whom, and the purity of the engine
	$(GO) test -count=1 ./internal/policy

vectors: ## the official test vectors (MLS_VECTORS=DIR) and our own
	$(GO) test -count=1 -v -run 'Vector|Golden' ./pprf ./frame ./mls/...

interop: ## our clients against each other over the working group's gRPC interface
	cd interop && $(GO) test -count=1 -v -run '^Test' . | grep -v '^ *---\|^=== '
