# Every target sets up what it needs; on a fresh machine `make run` and `make test` are enough.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard protos/workflow_runner/v1/*.proto)

.PHONY: setup
setup: .venv/.installed ## make .venv with everything the product and its tests need

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: generate
generate: setup ## make gen/ from protos/
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=gen --pyi_out=gen protos/buf/validate/validate.proto
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=gen --pyi_out=gen --grpc_python_out=gen $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports --include_source_info \
	  --descriptor_set_out=gen/workflow_runner.binpb $(PROTOS) protos/google/rpc/error_details.proto
