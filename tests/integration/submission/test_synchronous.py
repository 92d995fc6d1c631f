"""Synchronous executions, as the edge calls them: what is waited for, and what the answer is."""

import json
from typing import Any

import grpc.aio
import pytest
from google.api.httpbody_pb2 import HttpBody

from tests.support.rpc import error_info, over_rest, trailing
from tests.support.services import RunningService
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessRequest, ExecuteProcessResponse
from workflow_runner.v1.submission_service_pb2_grpc import SubmissionServiceStub

NAME = "workspaces/ada/processes/echo"


async def execute(
    submission: RunningService, request: dict[str, Any], **headers: str
) -> tuple[ExecuteProcessResponse, dict[str, str]]:
    """The answer and its headers."""
    call = SubmissionServiceStub(submission.channel).ExecuteProcess(
        ExecuteProcessRequest(
            name=NAME, request=HttpBody(content_type="application/json", data=json.dumps(request).encode())
        ),
        metadata=(*submission.token(), *over_rest(f"/{NAME}/execution"), *headers.items()),
    )
    answer = await call
    return answer, {key: value for key, value in await call.initial_metadata() if isinstance(value, str)}


async def test_executions_are_answered_by_the_tables_of_the_standard(submission: RunningService) -> None:
    """One service for all rows: request, `Prefer`, status, preference applied, media type, body."""
    inputs = {"inputs": {"message": "hello", "numbers": [1, 2]}}
    one: dict[str, Any] = {"message": {}}
    both: dict[str, Any] = {"message": {}, "numbers": {}}
    json_, text, job = "application/json", "text/plain; charset=utf-8", None
    reference = {"transmissionMode": "reference"}
    rows: list[tuple[dict[str, Any], str, str, str | None, str, bytes | None]] = [
        ({"outputs": one}, "", "200", None, text, b"hello"),
        ({"outputs": one}, "respond-sync", "200", None, text, b"hello"),
        ({"outputs": one}, "wait=9", "200", "wait=9", text, b"hello"),
        ({"outputs": one}, "respond-async, wait=9", "200", "wait=9", text, b"hello"),
        ({"outputs": one}, "respond-async", "201", "respond-async", json_, job),
        ({"outputs": one}, "wait=0", "201", "wait=0", json_, job),
        ({"outputs": {"numbers": {}}}, "", "200", None, json_, b"[1,2]"),
        ({"outputs": {"message": {"format": {"mediaType": json_}}}}, "", "200", None, json_, b'"hello"'),
        ({"outputs": one, "response": "document"}, "", "200", None, json_, b'{"message":"hello"}'),
        ({"outputs": both, "response": "document"}, "", "200", None, json_, b'{"message":"hello","numbers":[1,2]}'),
        ({"response": "document"}, "", "200", None, json_, b'{"message":"hello","numbers":[1,2]}'),
        ({"outputs": both}, "", "200", None, "multipart/related", None),
        ({}, "", "200", None, "multipart/related", None),
        ({"outputs": {"message": reference}}, "", "204", None, "", b""),
        ({"outputs": {"message": reference, "numbers": {}}}, "", "200", None, "multipart/related", None),
        ({"outputs": {"bbox": {}}}, "", "204", None, "", b""),
    ]
    for request, prefer, status, applied, media_type, body in rows:
        answer, headers = await execute(submission, inputs | request, **({"prefer": prefer} if prefer else {}))

        row = (request, prefer)
        assert (status, applied) == (headers["x-http-status"], headers.get("preference-applied")), row
        found = answer.document.content_type
        assert media_type == (found.partition(";")[0] if media_type.startswith("multipart") else found), row
        assert body is None or body == answer.document.data, row
        if status == "201":
            assert headers["location"].endswith(answer.job.name), row
        else:
            assert f'{answer.job.name}>; rel="monitor"' in headers["link"], row


@pytest.mark.parametrize(
    ("request_", "reason", "status"),
    [
        ({"inputs": {}}, "INVALID_INPUTS", "400"),
        ({"inputs": None}, "INVALID_EXECUTE_REQUEST", "400"),
        ({"inputs": {"message": "x"}, "outputs": {"nothing": {}}}, "NO_SUCH_OUTPUT", "400"),
        ({"inputs": {"message": {"href": "https://127.0.0.1/x"}}}, "URL_REFUSED", "400"),
        ({"inputs": {"message": "x"}, "response": "xml"}, "INVALID_EXECUTE_REQUEST", "400"),
    ],
)
async def test_what_does_not_fit_is_refused_before_there_is_a_job(
    submission: RunningService, request_: dict[str, Any], reason: str, status: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await execute(submission, request_)

    assert (reason, status) == (error_info(refused.value).reason, trailing(refused.value)["x-http-status"])
