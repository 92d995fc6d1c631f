# Every target sets up what it needs; on a fresh machine `make run` and `make test` are enough.

PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard protos/workflow_runner/v1/*.proto)
PROTOC := $(BIN)/python -m grpc_tools.protoc -I protos
GEN ?= gen

# Tools that only tests use, built from their sources where Go is at hand.
GRPCURL := github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
OPA := github.com/open-policy-agent/opa@v1.9.0

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test roundtrip check generate lock tools bench format clean

help: ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.runs ## make .venv with the product: .venv/bin/workflow-runner

setup-dev: .venv/.tests ## the same with what tests and checks need

.venv/.python:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.runs: .venv/.python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.tests: .venv/.runs requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

run: setup ## start the whole suite; ARGS="--port 9000 --open demo" are passed on
	$(BIN)/workflow-runner up $(ARGS)

test: check ## everything that must hold: checks, then all tests; ARGS are passed to pytest
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

roundtrip: setup-dev ## 2,000 generated names, values and descriptions through deploy, execute and results
	ROUNDTRIP_EXAMPLES=2000 $(BIN)/python -m pytest tests/roundtrip -n 3 --dist load --timeout 0 $(ARGS)

check: setup-dev ## what needs no running service: contract, style, types, borders between rooms, dependencies, policy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --path protos/workflow_runner
	@# Compared with the last release that this clone knows; without one, or without its tags, there is nothing to break.
	@if tag=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null); then \
	  released=$$(mktemp -d) && trap 'rm -rf "$$released"' EXIT && \
	  git archive "$$tag" buf.yaml protos | tar -x -C "$$released" && \
	  echo "buf breaking against $$tag" && $(BIN)/buf breaking --against "$$released"; \
	else echo "No released contract in this clone: buf breaking does not run."; fi
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry services gen
	$(BIN)/deptry tests bench examples --ignore DEP002,DEP004
	$(BIN)/python -m services.access.policy test

tools: ## the real OPA and grpcurl for the tests that compare with them; needs Go
	@if command -v go >/dev/null; then \
	  GOBIN="$(CURDIR)/.tools/bin" go install $(GRPCURL) && GOBIN="$(CURDIR)/.tools/bin" go install $(OPA); \
	else echo "Go is not installed: tests that need OPA or grpcurl will be skipped."; fi

generate: setup-dev ## make gen/ and the cluster's Envoy configuration from protos/
	$(PROTOC) --python_out=$(GEN) --pyi_out=$(GEN) protos/buf/validate/validate.proto
	$(PROTOC) --python_out=$(GEN) --pyi_out=$(GEN) --grpc_python_out=$(GEN) $(PROTOS)
	$(PROTOC) --include_imports --include_source_info --descriptor_set_out=$(GEN)/workflow_runner.binpb \
	  $(PROTOS) protos/google/rpc/error_details.proto
	$(BIN)/python -m services.edge > deploy/envoy/envoy.yaml

lock: setup-dev ## write the lock files anew
	$(BIN)/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group build --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock

bench: setup-dev ## measure, in ratios within one run
	$(BIN)/python -m bench $(ARGS)

format: setup-dev ## put the code and the contract into shape
	$(BIN)/buf format --write --path protos/workflow_runner
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove what was made here
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache
