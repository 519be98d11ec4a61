# `make demo` shows the main job with Go alone. `make check` is all that a fresh machine needs to pass the
# tests; CI runs it with STRATA_REQUIRE_ALL=1, under which a test that would skip fails.

GO ?= go
# The race detector needs a C compiler; where none can be had the tests run without it, and say so.
RACE = $(shell command -v cc >/dev/null 2>&1 && echo -race)
# Of everything that takes long, CI runs a short form.
FUZZTIME ?= 10m
BENCHTIME ?= 1s

# A check that is made again gives the same verdict: its random numbers are always these. `make explore` draws
# others, and so does each plain `go test`.
STRATA_SEED ?= 20261121
RAPID_SEED ?= 20261121
ROUNDS ?= 10

.PHONY: all demo check servers pgworker fmt vet staticcheck tidy test fuzz fuzz-layers bench bench-go long explore sample proto build simulator-random soak

all: build

build:
	$(GO) build ./...

# The sample cluster through the whole engine, checked against what PostgreSQL made of it.
demo:
	@$(GO) run ./cmd/demo

check: servers pgworker fmt vet staticcheck tidy test

# What the tests use: real PostgreSQL servers, the headers of one, pg_combinebackup, zstd, a C compiler, an S3 server.
servers:
	@sh scripts/servers.sh
	@sh scripts/backuptools.sh
	@sh scripts/s3server.sh

# The library that makes a stock PostgreSQL server a redo worker, for each version whose headers are here.
pgworker:
	@MAKE="$(MAKE)" sh scripts/pgworker.sh

fmt:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

tidy:
	$(GO) mod tidy -diff

# Under the race detector the proofs with real servers, and those with models and faults, do a token of their
# work; they run once more without.
PROOFS = ./internal/e2e ./internal/tenant ./basebackup ./inspect/redocheck ./walredo/native ./pg/mask ./simulator ./layer ./cmd/strata ./cmd/demo ./ingest ./inspect/clustercheck
test: export STRATA_SEED := $(STRATA_SEED)
test: export RAPID_SEED := $(RAPID_SEED)
test:
	@[ -n "$(RACE)" ] || echo "no C compiler here: the tests run without the race detector"
	@[ -n "$(RACE)" ] || [ -z "$$STRATA_REQUIRE_ALL" ]
	$(GO) test $(RACE) -timeout 30m ./...
	$(GO) test -timeout 30m $(PROOFS)

# Every fuzz target for FUZZTIME each.
fuzz:
	@FUZZTIME=$(FUZZTIME) sh scripts/fuzz.sh

# What reads layer files - deltas, images, nodes, blobs, trailers, names - for half an hour each: a night's work.
fuzz-layers:
	@FUZZTIME=30m sh scripts/fuzz.sh ./layer

# The workloads, quickly; results are in BENCHOUT, for `bench compare`. BENCHDIR is a folder on the disk to be measured.
BENCHOUT ?= bench.jsonl
BENCHDIR ?= .
bench:
	@$(GO) run ./cmd/bench run --profile quick --dir $(BENCHDIR) --sample testdata/sample $(if $(STRATA_FIXTURES),--fixtures $(STRATA_FIXTURES)) > $(BENCHOUT)

# All of Go's benchmarks, in all packages.
bench-go:
	$(GO) test ./... -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME)

# The long forms of the proofs: every crash point, every version, larger workloads.
long: servers pgworker
	STRATA_LONG=1 $(GO) test -timeout 4h -count=1 -v $(PROOFS)

# All tests ROUNDS times, each time with new random numbers; a failing test says which, and how to have them again.
explore: servers pgworker
	@for round in $$(seq $(ROUNDS)); do \
		STRATA_SEED= RAPID_SEED=0 $(GO) test -timeout 30m -count=1 ./... || exit 1; \
	done

# Random scenarios of the compaction simulator under every strategy, for ten minutes.
simulator-random:
	STRATA_LONG=1 $(GO) test -timeout 30m -count=1 -v -run TestRandomScenarios ./simulator

# Clients of the page service that come, ask and are killed, for an hour.
soak:
	STRATA_SOAK=1h $(GO) test -timeout 2h -count=1 -v -run TestSoak ./pageserver

# Makes testdata/sample anew; needs postgresql-15 and zstd.
sample: servers
	sh scripts/make-sample.sh

# The Go of the gRPC page service; needs protobuf-compiler.
proto:
	sh scripts/proto.sh
