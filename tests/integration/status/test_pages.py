"""Pages as the service makes them: what they say, what they must never let through, and to whom they are shown."""

import re
from html.parser import HTMLParser
from typing import Any

import grpc.aio
import pytest

from tests.integration.status.records import Records
from tests.integration.status.serving import Status
from tests.support.rpc import error_info
from workflow_runner.v1.status_service_pb2 import (
    GetApiRequest,
    GetConformanceRequest,
    GetJobRequest,
    GetLandingPageRequest,
    GetProcessRequest,
    GetResultsRequest,
    ListJobsRequest,
    ListLogsRequest,
    ListProcessesRequest,
)

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 111 * 1001 }}"
STATES = ("accepted", "running", "successful", "failed", "dismissed")


class Reader(HTMLParser):
    """What a browser makes of a page: its elements and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    def element(self, **wanted: str) -> dict[str, str | None]:
        """The only element with these attributes."""
        named = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        (found,) = [attributes for _, attributes in self.elements if named.items() <= attributes.items()]
        return found


async def read(rpc: Any, request: Any, status: Status, path: str = "/html/workspaces/ada", **headers: str) -> Reader:
    """Gets a page, which must be safe whatever is in it."""
    call = rpc(request, metadata=status.over_rest(path, **headers))
    body = await call
    metadata = {key: value for key, value in await call.initial_metadata() if isinstance(value, str)}

    assert body.content_type == "text/html; charset=utf-8"
    page = Reader(body.data.decode())
    assert {"module"} >= {script.get("type") for script in page.all("script")}
    assert all((script["src"] or "").startswith("/static/") for script in page.all("script"))
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert not [attributes for _, attributes in page.elements if "style" in attributes]
    assert all(not (image["src"] or "").startswith("x") for image in page.all("img"))
    assert "111111" not in page.text
    policy = metadata["content-security-policy"]
    assert "script-src runner.example/static/;" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "private, no-cache" == metadata["cache-control"]
    return page


async def test_the_landing_page_says_where_everything_is(status: Status) -> None:
    page = await read(status.pages.ShowLandingPage, GetLandingPageRequest(name="workspaces/ada"), status)

    links = {link["href"] for link in page.all("a")}
    assert {"/workspaces/ada/processes", "/workspaces/ada/jobs", "/workspaces/ada/conformance"} <= links
    assert "https://runner.example/workspaces/ada/processes" in page.text
    assert page.all("body")[0]["data-root"] == "/workspaces/ada"


async def test_conformance_is_shown(status: Status) -> None:
    page = await read(status.pages.ShowConformance, GetConformanceRequest(parent="workspaces/ada"), status)

    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in page.text


async def test_the_api_is_a_reference_with_a_form_for_each_operation(status: Status, records: Records) -> None:
    await records.process(about={"title": HOSTILE, "description": f"{HOSTILE} `{HOSTILE}` `"})

    page = await read(status.pages.ShowApi, GetApiRequest(parent="workspaces/ada"), status)

    tried = {(form["data-method"], form["data-path"]) for form in page.all("form")}
    assert {("GET", "/jobs"), ("DELETE", "/jobs/{jobID}"), ("POST", "/processes/sample/execution")} <= tried
    assert page.element(data_name="datetime", data_in="query")
    assert f"Executes {HOSTILE}" in page.text
    assert "`landingpage-success`" not in page.text


async def test_links_stay_below_the_prefix_of_a_proxy(status: Status) -> None:
    call = status.pages.ShowLandingPage(
        GetLandingPageRequest(name="workspaces/ada"),
        metadata=status.over_rest("/html/workspaces/ada", x_forwarded_prefix="/runner"),
    )

    page = Reader((await call).data.decode())

    metadata = {key: value for key, value in await call.initial_metadata() if isinstance(value, str)}
    assert all((link["href"] or "").startswith(("/runner/", "?", "#")) for link in page.all("a"))
    assert "script-src runner.example/runner/static/;" in metadata["content-security-policy"]
    assert (page.all("script")[0]["src"] or "").startswith("/runner/static/")


async def test_processes_are_shown_as_far_as_they_may_be_seen(status: Status, records: Records) -> None:
    await records.process(about={"title": HOSTILE, "description": HOSTILE, "keywords": [HOSTILE]})
    await records.process("hidden", "grace")

    page = await read(status.pages.ShowProcesses, ListProcessesRequest(parent="workspaces/ada"), status)

    assert HOSTILE in page.text
    assert "hidden" not in page.text
    assert page.element(href="/workspaces/ada/processes/sample")


async def test_a_long_list_has_pages(status: Status, records: Records) -> None:
    for number in range(3):
        await records.process(f"p-{number}")

    first = await read(
        status.pages.ShowProcesses,
        ListProcessesRequest(parent="workspaces/ada", page_size=2),
        status,
        "/html/workspaces/ada/processes?limit=2&f=html",
    )

    link = first.element(rel="next")["href"] or ""
    assert re.fullmatch(r"\?limit=2&f=html&pageToken=[\w-]+", link)
    second = await read(
        status.pages.ShowProcesses,
        ListProcessesRequest(parent="workspaces/ada", page_size=2, page_token=link.rpartition("=")[2]),
        status,
    )
    assert "p-2" in second.text
    assert "p-0" not in second.text


INPUTS: dict[str, Any] = {
    "text": {"schema": {"type": "string", "default": HOSTILE}},
    "count": {"minOccurs": 0, "schema": {"type": "integer", "minimum": 1, "maximum": 9}},
    "ratio": {"schema": {"type": "number", "default": 0.5}},
    "flag": {"schema": {"type": "boolean", "default": True}},
    "choice": {"title": HOSTILE, "schema": {"type": "string", "enum": ["a", HOSTILE]}},
    "many": {"maxOccurs": 3, "schema": {"type": "string"}},
    "scenes": {"schema": {"type": "array", "items": {"type": "integer"}, "default": [1, 2]}},
    "box": {"schema": {"type": "object", "format": "ogc-bbox"}},
    "link": {"schema": {"type": "string", "format": "uri"}},
    "catalog": {"schema": {"anyOf": [{"type": "string", "format": "uri"}, {"properties": {"href": {}}}]}},
    "image": {
        "schema": {
            "anyOf": [
                {"type": "string", "format": "uri", "contentMediaType": "image/tiff"},
                {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/tiff"},
            ]
        }
    },
    "anything": {"schema": {}},
    "record": {"schema": {"type": "object", "properties": {"a": {}}}},
    "either": {"schema": {"oneOf": [{"type": "string"}, {"type": "number"}]}},
    "nested": {"schema": {"type": "array", "items": {"type": "array"}}},
    "nullable": {"schema": {"type": ["string", "null"]}},
    HOSTILE: {"schema": {"type": "boolean"}, "minOccurs": 0},
    "old": {"schema": {"type": "number", "minimum": 0, "exclusiveMinimum": True}},
    "odd": {"schema": {"enum": [1, "two"]}},
    "bare": {},
}


async def test_every_input_has_a_field_of_its_kind(status: Status, records: Records) -> None:
    await records.process(
        about={"inputs": INPUTS, "outputs": {"out": {"title": HOSTILE, "schema": {"type": "string"}}, "bare": {}}}
    )

    page = await read(status.pages.ShowProcess, GetProcessRequest(name="workspaces/ada/processes/sample"), status)

    kinds = {field["data-input"]: field["data-kind"] for _, field in page.elements if "data-input" in field}
    assert kinds == {
        "text": "text",
        "count": "integer",
        "ratio": "number",
        "flag": "boolean",
        "choice": "choice",
        "many": "list",
        "scenes": "list",
        "box": "bbox",
        "link": "link",
        "catalog": "file",
        "image": "file",
        "anything": "json",
        "record": "json",
        "either": "json",
        "nested": "json",
        "nullable": "text",
        HOSTILE: "boolean",
        "old": "number",
        "odd": "json",
        "bare": "json",
    }
    count = page.element(id="in-count")
    assert ("number", "1", "1", "9", "") == tuple(count[name] for name in ("type", "step", "min", "max", "value"))
    assert page.element(id="in-text")["value"] == HOSTILE
    assert page.element(id="in-ratio")["value"] == "0.5"
    assert "checked" in page.element(id="in-flag")
    assert [option["value"] for option in page.all("option") if option.get("value")][:2] == ["a", HOSTILE]
    assert page.element(type="file")["accept"] == "image/tiff"
    labels = {label.get("for") for label in page.all("label")}
    assert {"in-text", "in-count", "in-choice", "in-box", "in-image"} <= labels


async def test_a_revision_that_was_replaced_can_be_looked_at(status: Status, records: Records) -> None:
    await records.process()
    await records.process()

    request = GetProcessRequest(name="workspaces/ada/processes/sample", revision=1)
    page = await read(status.pages.ShowProcess, request, status)

    assert "Revision1,deployed" in re.sub(r"\s+", "", page.text)


@pytest.mark.parametrize("state", STATES)
async def test_a_job_is_shown_in_every_state(status: Status, records: Records, state: str) -> None:
    await records.process()
    job = await records.job(state=state)

    page = await read(status.pages.ShowJob, GetJobRequest(name=f"workspaces/ada/jobs/{job}"), status)
    listed = await read(status.pages.ShowJobs, ListJobsRequest(parent="workspaces/ada"), status)

    assert page.element(class_=f"badge {state}")
    assert listed.element(class_=f"badge {state}")
    assert bool(page.all("progress")) == (state in ("accepted", "running"))
    offered = {link["href"] for link in page.all("a")}
    assert (f"/workspaces/ada/jobs/{job}/results" in offered) == (state == "successful")
    ends = "dismiss" if state in ("accepted", "running") else "remove"
    assert page.element(data_dismiss=ends)


async def test_a_failure_is_explained_with_whatever_its_tool_wrote(status: Status, records: Records) -> None:
    await records.process()
    failure = {
        "reason": "MEMORY_EXCEEDED",
        "message": f"Step {HOSTILE} needed more.",
        "step": HOSTILE,
        "exit_code": 137,
        "log_tail": ["\x1b[31mred\x1b[0m", HOSTILE, "\x07bell"],
    }
    job = await records.job(state="failed", failure=failure)
    await records.step(job, HOSTILE[:60], "failed", 137)

    page = await read(status.pages.ShowJob, GetJobRequest(name=f"workspaces/ada/jobs/{job}"), status)

    assert "A step needed more memory than it may use" in page.text
    assert f"Step {HOSTILE} needed more." in page.text
    assert f"red\n{HOSTILE}\n\N{REPLACEMENT CHARACTER}bell" in page.text
    assert "ramMin" in page.text
    assert "exit code 137" in page.text
    assert page.element(data_step=HOSTILE[:60])


async def test_every_reason_of_a_failure_has_words(status: Status, records: Records) -> None:
    from services.web.words import FAILURES
    from workflow_runner.v1.job_pb2 import JobFailure

    assert set(JobFailure.Reason.keys()) - {"REASON_UNSPECIFIED"} == set(FAILURES)


async def test_logs_are_shown_as_far_as_they_are(status: Status, records: Records) -> None:
    await records.process()
    job = await records.job(state="running")
    await records.step(job, "first", "running")
    await records.log(job, "first", f"\x1b[1m{HOSTILE}\x1b[0m\r\n\xff".encode("latin-1"))
    await records.step(job, "second", "running")
    await records.log(job, "second", b"beginning" + b"." * 70_000 + b"end")
    await records.step(job, "third", "running")

    page = await read(status.pages.ShowLogs, ListLogsRequest(parent=f"workspaces/ada/jobs/{job}"), status)

    assert f"{HOSTILE}\n\N{REPLACEMENT CHARACTER}" in page.text
    assert "beginning" not in page.text
    assert "...end" in page.text
    assert "It wrote nothing yet." in page.text


async def test_values_and_files_are_shown(status: Status, records: Records) -> None:
    await records.process()
    job = await records.job(state="running")
    text = await records.file(job, "report", "", f"# {HOSTILE}".encode())
    folder = {"files": [{"path": "a b/x.png", "size": 9, "media_type": "image/png"}]}
    huge = {"files": [{"path": f"{n}.bin", "size": 1, "media_type": "application/x"} for n in range(300)]}
    await records.results(
        job,
        {
            "number": {"value": 9007199254740993},
            "message": {"value": HOSTILE},
            "link": {"value": "https://example.com/?a=1&b=<c>"},
            "script": {"value": "javascript:alert(1)"},
            "object": {"value": {"a": [1, 2]}},
            "qualified": {"value": {"value": "PHNjcmlwdD4=", "encoding": "base64", "mediaType": "text/html"}},
            "nothing": {"value": None},
            "absent": None,
            "report": {"file": {"key": text, "name": "report.md", "size": 90, "media_type": "text/markdown"}},
            "gone": {"file": {"key": "jobs/x", "name": HOSTILE, "size": 5, "media_type": "text/html"}},
            "folder": {"directory": folder},
            "huge": {"directory": huge},
            "list": {"list": [{"value": 1}, {"value": "two"}]},
        },
    )

    page = await read(status.pages.ShowResults, GetResultsRequest(name=f"workspaces/ada/jobs/{job}"), status)

    for words in ("9007199254740993", HOSTILE, '{"a":[1,2]}', f"# {HOSTILE}", "It was not made.", '[1,"two"]'):
        assert words in page.text
    assert page.element(href="https://example.com/?a=1&b=<c>")
    assert not [link for link in page.all("a") if (link["href"] or "").startswith("javascript:")]
    results = f"/workspaces/ada/jobs/{job}/results"
    assert page.element(src=f"{results}/folder/a%20b/x.png")["class"] == "preview"
    assert page.element(href=f"{results}/report")["download"] is None
    assert "and 100 more" in page.text


async def test_a_job_without_results_has_no_page_of_them(status: Status, records: Records) -> None:
    await records.process()
    job = await records.job(state="running")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status.pages.ShowResults(
            GetResultsRequest(name=f"workspaces/ada/jobs/{job}"), metadata=status.over_rest("/html")
        )

    assert "RESULT_NOT_READY" == error_info(refused.value).reason


async def test_filters_stand_in_the_form_as_they_were_asked_for(status: Status, records: Records) -> None:
    await records.process()
    await records.job(state="failed", failure={"reason": "STEP_FAILED", "message": HOSTILE})
    await records.job(state="successful")

    request = ListJobsRequest(parent="workspaces/ada", states=["failed,dismissed"], process_ids=["sample"])
    page = await read(status.pages.ShowJobs, request, status, "/html/workspaces/ada/jobs?status=failed,dismissed")

    chosen = [box["value"] for box in page.all("input") if "checked" in box]
    assert chosen == ["failed", "dismissed"]
    assert page.element(name="processID")["value"] == "sample"
    assert HOSTILE in page.text
    assert len([row for row in page.all("tr") if "data-state" in row]) == 1


@pytest.fixture
async def requests(records: Records) -> list[tuple[str, Any]]:
    await records.process()
    job = await records.job(state="successful", results={})
    return [
        ("ShowLandingPage", GetLandingPageRequest(name="workspaces/ada")),
        ("ShowApi", GetApiRequest(parent="workspaces/ada")),
        ("ShowConformance", GetConformanceRequest(parent="workspaces/ada")),
        ("ShowProcess", GetProcessRequest(name="workspaces/ada/processes/sample")),
        ("ShowJobs", ListJobsRequest(parent="workspaces/ada")),
        ("ShowJob", GetJobRequest(name=f"workspaces/ada/jobs/{job}")),
        ("ShowLogs", ListLogsRequest(parent=f"workspaces/ada/jobs/{job}")),
        ("ShowResults", GetResultsRequest(name=f"workspaces/ada/jobs/{job}")),
    ]


async def test_a_page_is_refused_as_its_resource_is(status: Status, requests: list[tuple[str, Any]]) -> None:
    resources = {
        "ShowLandingPage": "GetLandingPage",
        "ShowConformance": "GetConformance",
        "ShowApi": "GetApi",
        "ShowProcess": "GetProcess",
        "ShowJobs": "ListJobs",
        "ShowJob": "GetJob",
        "ShowLogs": "ListLogs",
    }
    for page, request in requests:
        assert (await getattr(status.pages, page)(request, metadata=status.as_user())).data
        for metadata in ((), status.as_user("grace", user="grace")):
            reasons = []
            for stub, rpc in ((status.pages, page), (status.stub, resources.get(page))):
                if rpc is None:
                    continue
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await getattr(stub, rpc)(request, metadata=metadata)
                reasons.append((refused.value.code(), error_info(refused.value).reason))
            assert 1 == len(set(reasons)), page
