"""The two doors of an installation, REST and gRPC, as one workspace of it sees them through their one port."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from workflow_runner.v1 import ingestion_service_pb2_grpc, status_service_pb2_grpc, submission_service_pb2_grpc

OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-"
OWN = "https://workflow-runner.dev/problems/"
YAML, JSON = "application/cwl+yaml", "application/json"
PATIENCE_SECONDS = 60
ENDED = {"successful", "failed", "dismissed"}


@dataclass(frozen=True)
class Answer:
    """What came back over REST."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Refusal:
    """A refusal over gRPC."""

    code: grpc.StatusCode
    reason: str
    message: str
    places: tuple[str, ...] = ()
    """Where the request is wrong, as JSON pointers."""
    retry_seconds: float | None = None


class Workspace:
    """One workspace, as somebody with a token sees it."""

    def __init__(self, port: int, name: str, token: str | None) -> None:
        self.port = port
        self.name = name
        self.token = token

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | str | None = None,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        absolute: bool = False,
    ) -> Answer:
        """Sends a request exactly as it is written; `path` is below the workspace unless it is `absolute`."""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if media_type is not None:
            sent["Content-Type"] = media_type
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method,
                path if absolute else f"/workspaces/{self.name}{path}",
                body=body.encode() if isinstance(body, str) else body,
                headers={**sent, **(headers or {})},
            )
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def deploy(self, package: bytes | str, media_type: str = YAML, *, query: str = "") -> Answer:
        return self.ask(f"/processes{query}", method="POST", body=package, media_type=media_type)

    def execute(self, process: str, inputs: Mapping[str, Any] | None = None) -> Answer:
        """Has a job accepted, without waiting for it."""
        return self.ask(
            f"/processes/{process}/execution",
            method="POST",
            body=json.dumps({"inputs": inputs or {}}),
            media_type=JSON,
            headers={"Prefer": "respond-async"},
        )

    def accept(self, process: str, inputs: Mapping[str, Any] | None = None) -> str:
        """Has a job accepted and gives its id."""
        answer = self.execute(process, inputs)
        assert answer.status == 201, answer
        job: str = answer.json["jobID"]
        return job

    def job(self, job: str) -> Any:
        answer = self.ask(f"/jobs/{job}")
        assert answer.status == 200, answer
        return answer.json

    def end_of(self, job: str) -> Any:
        """Waits until a job has ended and gives it. Bears that a part is away meanwhile."""

        last: list[Answer] = []

        def ended() -> Any:
            last[:] = [self.ask(f"/jobs/{job}")]
            return last[0].json if last[0].status == 200 and last[0].json["status"] in ENDED else None

        try:
            return eventually(ended)
        except AssertionError:
            raise AssertionError(f"job {job} has not ended: {last}") from None

    def call(self, method: str, request: Any, *, token: str | None = "") -> Any:
        """Calls an RPC, with the token of the workspace unless another is given. Gives the answer, or the Refusal."""
        token = self.token if token == "" else token
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            stub = next(
                stub
                for stub in (
                    submission_service_pb2_grpc.SubmissionServiceStub(channel),
                    status_service_pb2_grpc.StatusServiceStub(channel),
                    ingestion_service_pb2_grpc.IngestionServiceStub(channel),
                )
                if hasattr(stub, method)
            )
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            try:
                return getattr(stub, method)(request, metadata=metadata, timeout=30)
            except grpc.RpcError as error:
                return _refusal(error)


def eventually(found: Callable[[], Any], *, within: float = PATIENCE_SECONDS) -> Any:
    """Asks again until the answer is true, and gives it. A connection that breaks is asked again too."""
    give_up = time.monotonic() + within
    while True:
        try:
            answer = found()
        except (OSError, http.client.HTTPException):
            answer = None
        if answer:
            return answer
        assert time.monotonic() < give_up, f"nothing came of {found.__qualname__} within {within:g} s"
        time.sleep(0.05)


def _refusal(error: Any) -> Refusal:
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    info, wrong, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    seconds = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(wrong)
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return Refusal(
        error.code(),
        info.reason,
        error.details() or "",
        tuple(violation.field for violation in wrong.field_violations),
        seconds,
    )


def problem(answer: Answer, status: int, reason: str | None, *, ogc: str | None = None) -> Any:
    """Shows that an answer is a problem document with what everybody gets told, and gives it.

    `ogc` is the end of the type where the standard has one; without a `reason` it is the edge that refuses.
    """
    assert status == answer.status, answer
    assert "application/problem+json" == answer.headers["content-type"]
    document = answer.json
    if ogc is not None:
        expected = OGC + ogc
    else:
        expected = "about:blank" if reason is None else OWN + reason.lower().replace("_", "-")
    assert (status, expected, reason) == (document["status"], document["type"], document.get("reason"))
    assert document["title"]
    assert document["detail"].endswith((".", ")"))
    return document
