"""What holds for the contract and what is generated from it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message_factory import GetMessageClass

from workflow_runner.v1 import (
    ingestion_service_pb2,
    options_pb2,
    page_service_pb2,
    status_service_pb2,
    submission_service_pb2,
)

ROOT = Path(__file__).parents[2]
SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (submission_service_pb2, "SubmissionService"),
        (status_service_pb2, "StatusService"),
        (page_service_pb2, "PageService"),
        (ingestion_service_pb2, "IngestionService"),
    )
]
RPCS = [method for service in SERVICES for method in service.methods]


def protoc(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", *arguments], cwd=ROOT, check=True, timeout=60
    )


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.full_name)
def test_every_rpc_names_the_action_that_the_policy_decides_on(rpc) -> None:
    action = rpc.GetOptions().Extensions[options_pb2.action]

    assert re.fullmatch(r"(process|package|job|ingestion|workspace)\.[a-z]+", action)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.full_name)
def test_every_request_names_the_resource_that_it_is_about(rpc) -> None:
    names = set(rpc.input_type.fields_by_name) & {"name", "parent"}

    assert 1 == len(names)
    request = GetMessageClass(rpc.input_type)()
    assert "" == getattr(request, names.pop())


def test_what_is_generated_is_fresh(tmp_path: Path) -> None:
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos/workflow_runner/v1").glob("*.proto"))
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "protos/buf/validate/validate.proto")
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}", *protos)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*")}
    kept = {
        path.relative_to(ROOT / "gen"): path.read_bytes()
        for path in (ROOT / "gen").rglob("*.py*")
        if "__pycache__" not in path.parts and path.name != "__init__.py"
    }

    assert made.keys() == kept.keys()
    assert [] == [str(path) for path in made if made[path] != kept[path]], "run `make generate`"


def test_the_descriptor_set_is_fresh(tmp_path: Path) -> None:
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos/workflow_runner/v1").glob("*.proto"))
    protoc(
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={tmp_path}/set",
        *protos,
        "protos/google/rpc/error_details.proto",
    )
    made = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes())
    kept = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/workflow_runner.binpb").read_bytes())

    assert {file.name: file for file in made.file} == {file.name: file for file in kept.file}, "run `make generate`"
