"""Callers who are not who they say, or not of the workspace: they do nothing and learn nothing."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody

from services.standalone.tokens import AUDIENCE, ISSUER, Issuer
from tests.support.doors import JSON, Answer, Refusal, Workspace, problem
from tests.system.suite import Suite
from workflow_runner.v1 import status_service_pb2 as status
from workflow_runner.v1 import submission_service_pb2 as submission

NO_JOB = "01900000-0000-7000-8000-000000000000"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: [echo, hello]
inputs: {size: int, name: string?}
outputs: {said: {type: stdout}}
"""


def claims(workspace: Workspace, **other: Any) -> dict[str, Any]:
    """What a token says that would be good if it were signed by us."""
    return jwt.decode(workspace.token or "", options={"verify_signature": False}) | other


def tokens(suite: Suite, workspace: Workspace, directory: Path) -> dict[str, tuple[str, str]]:
    """Tokens that do not hold, and the reason."""
    kid = jwt.get_unverified_header(workspace.token or "")["kid"]
    public = json.loads(suite.issuer.jwks.read_text())["keys"][0]
    stranger = Ed25519PrivateKey.generate()
    good = claims(workspace)
    head, body, signature = (workspace.token or "").split(".")
    role = claims(workspace, workspaces={"other": "owner"}, realm_access={"roles": ["workflow-runner-operator"]})
    changed = jwt.encode(role, "", algorithm="none").split(".")[1]
    return {
        "none": (jwt.encode(good, "", algorithm="none", headers={"kid": kid}), "TOKEN_INVALID"),
        "none-unsigned": (f"{head}.{body}.", "TOKEN_INVALID"),
        "changed": (f"{head}.{changed}.{signature}", "TOKEN_INVALID"),
        "hmac": (jwt.encode(good, public["x"], algorithm="HS256", headers={"kid": kid}), "TOKEN_INVALID"),
        "stranger": (
            Issuer(directory).user_token(workspace.name, role="owner", user="ada", lifetime=timedelta(hours=1)),
            "TOKEN_INVALID",
        ),
        "stranger-kid": (jwt.encode(good, stranger, algorithm="EdDSA", headers={"kid": kid}), "TOKEN_INVALID"),
        "kid-path": (jwt.encode(good, stranger, algorithm="EdDSA", headers={"kid": "../../key"}), "TOKEN_INVALID"),
        "expired": (suite.token(workspace.name, lifetime=timedelta(hours=-1)), "TOKEN_EXPIRED"),
        "issuer": (signed(suite, claims(workspace, iss="urn:other")), "TOKEN_INVALID"),
        "audience": (signed(suite, claims(workspace, aud="other")), "TOKEN_INVALID"),
        "not-yet": (signed(suite, claims(workspace, nbf=claims(workspace)["exp"])), "TOKEN_EXPIRED"),
        "no-expiry": (signed(suite, {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada"}), "TOKEN_INVALID"),
        "id-token": (signed(suite, claims(workspace, at_hash="x")), "TOKEN_INVALID"),
        "nonsense": ("not.a.token", "TOKEN_INVALID"),
        "long": ("x" * 20_000, "TOKEN_INVALID"),
    }


def signed(suite: Suite, payload: dict[str, Any]) -> str:
    """A token that the right key has signed."""
    key = (suite.directory.identity / "key.pem").read_bytes()
    kid = json.loads(suite.issuer.jwks.read_text())["keys"][0]["kid"]
    return jwt.encode(payload, key, algorithm="EdDSA", headers={"kid": kid})


@pytest.mark.usefixtures("leaves_nothing")
def test_without_a_token_nothing_is_done(workspace: Workspace) -> None:
    stranger = Workspace(workspace.port, workspace.name, None)

    for answer, refusal in attempts(stranger):
        problem(answer, 401, "TOKEN_MISSING")
        assert answer.headers["www-authenticate"].startswith("Bearer realm=")
        assert (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING") == (refusal.code, refusal.reason)


@pytest.mark.usefixtures("leaves_nothing")
def test_a_token_that_does_not_hold_opens_nothing(suite: Suite, workspace: Workspace, tmp_path: Path) -> None:
    said = {}
    for kind, (token, reason) in tokens(suite, workspace, tmp_path).items():
        for answer, refusal in attempts(Workspace(workspace.port, workspace.name, token)):
            document = problem(answer, 401, reason)
            assert token not in document["detail"]
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert (grpc.StatusCode.UNAUTHENTICATED, reason) == (refusal.code, refusal.reason)
            said[kind] = document["detail"]

    assert "The token has expired." == said["expired"]


def attempts(workspace: Workspace, *, execute: bool = True) -> list[tuple[Answer, Refusal]]:
    """The same requests over REST and over gRPC: to read, to deploy, and, with `execute`, to execute what is public."""
    root = f"workspaces/{workspace.name}"
    package = HttpBody(content_type="application/cwl+yaml", data=TOOL.encode())
    execution = submission.ExecuteProcessRequest(name=f"{root}/processes/echo")
    execution.inputs.update({"message": "hello"})
    found = [
        (workspace.ask("/jobs"), workspace.call("ListJobs", status.ListJobsRequest(parent=root))),
        (
            workspace.deploy(TOOL),
            workspace.call("DeployProcess", submission.DeployProcessRequest(parent=root, package=package)),
        ),
    ]
    if execute:
        found.append((workspace.execute("echo", {"message": "hello"}), workspace.call("ExecuteProcess", execution)))
    return found


def test_a_foreign_workspace_is_closed_and_tells_nothing(suite: Suite, workspace: Workspace) -> None:
    assert workspace.deploy(TOOL).status == 201
    job = workspace.accept("echo", {"message": "mine"})
    workspace.end_of(job)
    visitor = Workspace(workspace.port, workspace.name, suite.token("elsewhere"))

    with suite.leaves_nothing(workspace):
        closed = attempts(visitor, execute=False)
        for path in ("", "/results", "/logs", "/events"):
            there, away = visitor.ask(f"/jobs/{job}{path}"), visitor.ask(f"/jobs/{NO_JOB}{path}")
            alike(there, away, job, NO_JOB)
            problem(there, 404, "NO_SUCH_JOB", ogc="1/1.0/no-such-job")
        for method, path, body in (
            ("GET", "/processes/{}", None),
            ("GET", "/processes/{}/package", None),
            ("DELETE", "/processes/{}", None),
            ("PUT", "/processes/{}", TOOL),
            ("POST", "/processes/{}/execution", '{"inputs": {"size": 1}}'),
        ):
            media_type = {"PUT": "application/cwl", "POST": JSON}.get(method)
            there, away = (
                visitor.ask(path.format(name), method=method, body=body, media_type=media_type)
                for name in ("tool", "none")
            )
            alike(there, away, "tool", "none")
            problem(there, 404, "NO_SUCH_PROCESS", ogc="1/1.0/no-such-process")
        alike(
            visitor.ask(f"/jobs/{job}", method="DELETE"), visitor.ask(f"/jobs/{NO_JOB}", method="DELETE"), job, NO_JOB
        )

    for answer, refusal in closed:
        assert workspace.name in problem(answer, 403, "ACTION_NOT_ALLOWED")["detail"]
        assert (grpc.StatusCode.PERMISSION_DENIED, "ACTION_NOT_ALLOWED") == (refusal.code, refusal.reason)
    assert "successful" == workspace.job(job)["status"]
    assert 200 == workspace.ask("/processes/tool").status


def alike(there: Answer, away: Answer, existing: str, missing: str) -> None:
    """Shows that two refusals differ in nothing but the id that was asked for."""
    assert there.status == away.status
    assert there.body.replace(existing.encode(), b"*") == away.body.replace(missing.encode(), b"*")
