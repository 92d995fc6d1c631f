"""The client that EOEPCA generates from the OpenAPI document of the standard, as it comes from PyPI: its models take
nothing that the standard does not have."""

import time
from typing import Any

import pytest
from ogc_api_processes_client.api_client_wrapper import ApiClientWrapper
from ogc_api_processes_client.configuration import Configuration
from ogc_api_processes_client.exceptions import ApiException
from ogc_api_processes_client.models.status_code import StatusCode
from ogc_api_processes_client.models.status_info import StatusInfo

from tests.clients.packages import convert
from tests.support.doors import Workspace

PATHS = {"canonical": "/workspaces/{}", "alias": "/ades/{}/ogc-api"}
PATIENCE_SECONDS = 60
ASYNC = {"Prefer": "respond-async", "Content-Type": "application/json"}
pytestmark = pytest.mark.xdist_group("clients")


@pytest.fixture(params=PATHS)
def client(request: pytest.FixtureRequest, workspace: Workspace) -> ApiClientWrapper:
    path = PATHS[request.param].format(workspace.name)
    return ApiClientWrapper(
        configuration=Configuration(host=f"http://127.0.0.1:{workspace.port}{path}"),
        header_name="Authorization",
        header_value=f"Bearer {workspace.token}",
    )


def executed(client: ApiClientWrapper, process: str, inputs: dict[str, object], **wanted: object) -> StatusInfo:
    # The client passes no headers of its own along with a plain document.
    headers = ASYNC | client.api_client.default_headers
    return client.execute_simple(process, {"inputs": inputs, **wanted}, _headers=headers)


def end_of(client: ApiClientWrapper, job: str) -> StatusInfo:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        status = client.get_status(job)
        if status.status not in (StatusCode.ACCEPTED, StatusCode.RUNNING):
            return status
        assert time.monotonic() < give_up, status
        time.sleep(0.1)


def test_the_landing_page_and_conformance_are_read(client: ApiClientWrapper) -> None:
    page = client.get_landing_page()
    classes = client.get_conformance_classes()

    assert client.api_client.configuration.host in {link.href for link in page.links}
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in classes.conforms_to


def test_processes_are_listed(client: ApiClientWrapper, catalog_process: str) -> None:
    listed = client.get_processes()

    assert {"echo", catalog_process} == {process.id for process in listed.processes}


@pytest.mark.parametrize("process", ["echo", "scene-maker"])
def test_a_process_is_described(client: ApiClientWrapper, catalog_process: str, process: str) -> None:
    described = client.get_process_description(process)

    assert process == described.id
    assert described.inputs
    assert described.outputs


def test_a_process_is_executed_and_its_results_are_read(client: ApiClientWrapper) -> None:
    inputs: dict[str, object] = {"message": "hello", "bbox": {"bbox": [1.0, 2.0, 3.0, 4.0]}}
    # The models of this client take any text for bytes as well, and refuse it as ambiguous.
    wanted: dict[str, Any] = {"outputs": {"bbox": {"transmissionMode": "value"}}, "response": "document"}

    accepted = executed(client, "echo", inputs, **wanted)
    ended = end_of(client, accepted.job_id)
    results: Any = client.get_result(accepted.job_id)

    assert ("process", "echo") == (accepted.type, accepted.process_id)
    assert StatusCode.SUCCESSFUL == ended.status
    assert [1.0, 2.0, 3.0, 4.0] == results["bbox"].to_dict()["bbox"]


def test_a_file_is_found_by_its_reference(client: ApiClientWrapper, workspace: Workspace) -> None:
    assert 201 == workspace.deploy(convert()).status
    wanted = {"outputs": {"said": {"transmissionMode": "reference"}}, "response": "document"}

    job = executed(client, "convert-url", {}, **wanted)
    ended = end_of(client, job.job_id)
    link: Any = client.get_result(job.job_id)["said"].actual_instance

    assert StatusCode.SUCCESSFUL == ended.status
    assert link.href.startswith(f"{client.api_client.configuration.host}/jobs/{job.job_id}/results/said")
    found = client.api_client.call_api("GET", link.href, header_params=dict(client.api_client.default_headers))
    assert b"done\n" == found.read()


def test_jobs_are_listed(client: ApiClientWrapper) -> None:
    jobs = [executed(client, "echo", {"message": str(number)}).job_id for number in range(3)]

    assert jobs[::-1] == [job.job_id for job in client.get_jobs().jobs]


def test_a_job_is_dismissed(client: ApiClientWrapper, workspace: Workspace) -> None:
    assert 201 == workspace.deploy(convert(seconds=30)).status
    job = executed(client, "convert-url", {})

    dismissed = client.dismiss(job.job_id)

    assert (job.job_id, StatusCode.DISMISSED) == (dismissed.job_id, dismissed.status)


def test_what_is_not_there_is_an_exception_with_the_standards_type(client: ApiClientWrapper) -> None:
    with pytest.raises(ApiException) as no_process:
        client.get_process_description("nothing")
    with pytest.raises(ApiException) as no_job:
        client.get_status("00000000-0000-7000-8000-000000000000")

    assert (404, 404) == (no_process.value.status, no_job.value.status)
    assert "ogcapi-processes-1/1.0/no-such-process" in no_process.value.body
    assert "ogcapi-processes-1/1.0/no-such-job" in no_job.value.body
