# Troupe. The two targets to know: `make run` and `make test`.

SHELL := /bin/bash
GO ?= go
BUILD := $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || echo dev)
PKG := github.com/troupe-dev/troupe
LDFLAGS := -s -w -X $(PKG)/cmd/troupe/version.build=$(BUILD)
GOFILES = $(shell git ls-files -co --exclude-standard '*.go')

.PHONY: all build run test lint clean conformance conformance-serial conformance-ci bench FORCE
all: build

# The binary, and the name under which it is a kubelet. The Go tool knows what is up to date.
build: bin/troupe
bin/troupe: FORCE | go
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/troupe ./cmd/troupe
	@ln -sfn troupe bin/kubelet
FORCE:

.PHONY: go
go:
	@test/rig/need.sh go

# Everything from nothing to a pod that answers. ARGS are passed on: make run ARGS=--detach
run: build
	@test/rig/run.sh $(ARGS)

# All tests, against a real container runtime too where root allows it.
test: build
	@test/rig/test.sh $(ARGS)

lint: | go
	@bad=$$(gofmt -l $(GOFILES)); [ -z "$$bad" ] || { echo "gofmt these files:"; echo "$$bad"; exit 1; }
	$(GO) vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; elif command -v staticcheck >/dev/null; then staticcheck ./...; else echo "golangci-lint and staticcheck are not installed: vet and gofmt only"; fi

# The node parts of the Kubernetes end-to-end suite, against the agent in bin/, or the stock kubelet with ARGS='--agent
# kubelet'. A run that was cut off goes on where it was. Results are in docs/conformance.md.
conformance: build
	@test/rig/conformance.sh $(ARGS)

# Those that are slow, or need the node for themselves: about an hour.
conformance-serial: build
	@test/rig/conformance.sh --suite serial $(ARGS)

# The rig's own tests, and a choice of specs for breadth: about ten minutes. A spec that fails beside others runs once more,
# alone; both results are shown.
conformance-ci: build
	@cd test/conformance && $(GO) test ./...
	@test/rig/conformance.sh --suite ci --again --record=false $(ARGS)

# The load tests, each figure with its limit beside it.
bench: build
	bin/troupe bench pods $(ARGS)

clean:
	rm -rf bin
