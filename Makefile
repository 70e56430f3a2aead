# What people type most. `make` alone explains itself.
SHELL := /bin/bash
GO ?= go
PYTHON ?= python3
BIN := bin
TOOLS := $(CURDIR)/.tools
GOLANGCI_LINT_VERSION := v2.15.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO_FILES := $(shell find . -name '*.go' -not -path './node_modules/*' 2>/dev/null)

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/anybridge: $(GO_FILES) go.mod go.sum
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/anybridge

.PHONY: build
build: $(BIN)/anybridge ## build bin/anybridge

.PHONY: run
run: build ## build, then run the bridge on its defaults
	@exec $(BIN)/anybridge serve

.PHONY: tour
tour: ## start the README's WAMP component and web app, beside "make run"
	@scripts/setup python
	@trap 'kill 0' EXIT; $(PYTHON) examples/tour/webapp.py & .venv/bin/python examples/tour/component.py

.PHONY: demo
demo: ## see messages travel between a Django site, a Flask app and WAMP; KEEP=1: stay up
	@scripts/demo $(if $(KEEP),--keep)

.PHONY: demo-routes
demo-routes: ## see messages travel between WAMP, Redis, IRC and XMPP; KEEP=1: stay up
	@scripts/demo-routes $(if $(KEEP),--keep)

.PHONY: setup
setup: ## install what the tests need into .venv and tests/node_modules
	@scripts/setup

.PHONY: test
test: setup ## set up and run every test, with the race detector
	@scripts/test

.PHONY: contrib
contrib: ## check the Python packages alone: ruff, mypy and their tests
	@scripts/contrib

.PHONY: contrib-matrix
contrib-matrix: ## run their tests over the versions of Python, Django and Flask
	@scripts/contrib-matrix

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## vet, golangci-lint and formatting
	$(GO) vet ./...
	$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) run ./...

.PHONY: check
check: lint test ## exactly what CI runs

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 20s)
	@scripts/fuzz $(or $(FUZZTIME),20s)

.PHONY: bench
bench: build setup ## print the side-by-side table of docs/benchmarks.md
	@$(GO) run ./bench

.PHONY: generate
generate: ## regenerate the plugin protocol (needs protoc)
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what make made
	rm -rf $(BIN) .tools .venv tests/node_modules

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	@mkdir -p $(TOOLS)
	@echo "building golangci-lint $(GOLANGCI_LINT_VERSION) (once, some minutes)"
	GOBIN=$(TOOLS) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(TOOLS)/golangci-lint $@
