"""Callers without a token in a workspace that is open to them hear what a member would."""

import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from services.access.identity import IdentitySettings
from services.shared.names import JobName, ProcessName
from services.standalone.tokens import AUDIENCE, ISSUER, Issuer
from tests.support.rpc import error_info, open_channel
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceServicer, add_StatusServiceServicer_to_server
from workflow_runner.v1.submission_service_pb2_grpc import (
    SubmissionServiceServicer,
    add_SubmissionServiceServicer_to_server,
)

STATUS, SUBMISSION = "/workflow_runner.v1.StatusService/", "/workflow_runner.v1.SubmissionService/"
NO_JOB = "01890a5d-ac96-774b-bcce-b302099a8057"
FOREIGN_JOB = "01890a5d-ac96-774b-bcce-b302099a8058"


async def facts_of(name: Any) -> dict[str, Any] | None:
    match name:
        case ProcessName(_, "echo"):
            return {"mutable": False, "visibility": "public"}
        case ProcessName(_, "tool"):
            return {"mutable": True, "visibility": "private"}
        case JobName(_, job_id) if str(job_id) == FOREIGN_JOB:
            return {"owner": "bob", "calling_workspace": "other"}
    return None


async def refusal(role: str | None, directory: Path, method: str, name: str) -> str:
    """The reason that a caller without a token hears."""
    issuer = Issuer(directory)
    overlay = directory / "overlay.json"
    overlay.write_text(json.dumps({"workflow_runner_config": {"anonymous": {"try": role} if role else {}}}))
    identity = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(issuer.jwks))

    def register(server: grpc.aio.Server) -> None:
        add_StatusServiceServicer_to_server(StatusServiceServicer(), server)
        add_SubmissionServiceServicer_to_server(SubmissionServiceServicer(), server)

    facts = {ProcessName: facts_of, JobName: facts_of}
    async with open_channel(register, identity=identity, facts=facts, policy_data=overlay) as channel:
        sent = bytes([0x0A, len(name)]) + name.encode()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            if method.endswith(("GetResults", "WatchJob")):
                await anext(aiter(channel.unary_stream(method, bytes, bytes)(sent)))
            else:
                await channel.unary_unary(method, bytes, bytes)(sent)
    return error_info(refused.value).reason


@pytest.mark.parametrize("role", ["viewer", "developer"])
@pytest.mark.parametrize(
    ("method", "name", "reason"),
    [
        (STATUS + "GetJob", f"jobs/{NO_JOB}", "NO_SUCH_JOB"),
        (STATUS + "GetJob", f"jobs/{FOREIGN_JOB}", "NO_SUCH_JOB"),
        (STATUS + "GetResults", f"jobs/{NO_JOB}", "NO_SUCH_JOB"),
        (STATUS + "WatchJob", f"jobs/{NO_JOB}", "NO_SUCH_JOB"),
        (SUBMISSION + "DismissJob", f"jobs/{NO_JOB}", "NO_SUCH_JOB"),
        (SUBMISSION + "UndeployProcess", "processes/echo", "IMMUTABLE_PROCESS"),
        (SUBMISSION + "ReplaceProcess", "processes/echo", "IMMUTABLE_PROCESS"),
        (SUBMISSION + "ShareProcess", "processes/echo", "IMMUTABLE_PROCESS"),
    ],
)
async def test_what_a_token_would_not_change_asks_for_none(
    tmp_path: Path, role: str, method: str, name: str, reason: str
) -> None:
    assert reason == await refusal(role, tmp_path, method, f"workspaces/try/{name}")


@pytest.mark.parametrize(
    ("role", "method", "name"),
    [
        ("viewer", SUBMISSION + "UndeployProcess", "processes/tool"),
        ("viewer", SUBMISSION + "ExecuteProcess", "processes/echo"),
        (None, SUBMISSION + "UndeployProcess", "processes/echo"),
        (None, STATUS + "GetJob", f"jobs/{NO_JOB}"),
        (None, STATUS + "GetProcess", "processes/none"),
    ],
)
async def test_what_a_token_may_change_asks_for_one(tmp_path: Path, role: str | None, method: str, name: str) -> None:
    assert "TOKEN_MISSING" == await refusal(role, tmp_path, method, f"workspaces/try/{name}")
