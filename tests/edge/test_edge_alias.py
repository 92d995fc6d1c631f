"""The paths of the EO DataHub lead to the same workspaces, and a service is told which path the caller knows."""

import pytest

from tests.edge.client import Client
from tests.edge.upstream import Upstream

CATALOG = "/api/catalogue/stac/catalogs/user/catalogs/ada"
ADES = "/ades/ada/ogc-api"
MARK = "x-workflow-runner-alias"

REACHED = [
    ("GET", CATALOG, "/processes", "ListProcesses", "workspaces/ada"),
    ("GET", CATALOG, "/processes/", "ListProcesses", "workspaces/ada"),
    ("POST", CATALOG, "/processes/", "DeployProcess", "workspaces/ada"),
    ("PUT", CATALOG, "/processes/water", "ReplaceProcess", "workspaces/ada/processes/water"),
    ("DELETE", CATALOG, "/processes/water", "UndeployProcess", "workspaces/ada/processes/water"),
    ("POST", CATALOG, "/processes/water/execution", "ExecuteProcess", "workspaces/ada/processes/water"),
    ("GET", CATALOG, "/jobs?limit=10&skip=20", "ListJobs", "workspaces/ada"),
    ("GET", CATALOG, "/jobs/j", "GetJob", "workspaces/ada/jobs/j"),
    ("DELETE", CATALOG, "/jobs/j", "DismissJob", "workspaces/ada/jobs/j"),
    ("GET", CATALOG, "/jobs/j/results", "GetResults", "workspaces/ada/jobs/j"),
    ("GET", CATALOG, "/jobs/j/results/stac/a/b.json", "ReadResult", "workspaces/ada/jobs/j"),
    ("GET", CATALOG, "/jobs/j/main.crop_2.log", "ReadLog", "workspaces/ada/jobs/j"),
    ("GET", ADES, "", "GetLandingPage", "workspaces/ada"),
    ("GET", ADES, "/", "GetLandingPage", "workspaces/ada"),
    ("GET", ADES, "/conformance", "GetConformance", "workspaces/ada"),
    ("GET", ADES, "/processes/water", "GetProcess", "workspaces/ada/processes/water"),
    ("GET", ADES, "/jobs/j/main.log", "ReadLog", "workspaces/ada/jobs/j"),
]
BODY_TYPES = {"POST": "application/json", "PUT": "application/cwl+yaml"}


@pytest.mark.parametrize(("verb", "base", "tail", "rpc", "name"), REACHED)
def test_an_alias_reaches_the_rpc_of_the_workspace(
    client: Client, upstream: Upstream, verb: str, base: str, tail: str, rpc: str, name: str
) -> None:
    headers = [f"Content-Type: {BODY_TYPES[verb]}"] if verb in BODY_TYPES else []

    response = client.request(verb, base + tail, *headers, body="{}" if headers else None)

    assert response.status == 200
    assert [rpc] == [call.rpc for call in upstream.calls]
    request = upstream.last.request
    assert name == (getattr(request, "name", "") or request.parent)
    assert base == upstream.last.header(MARK)


def test_the_log_of_a_step_keeps_its_name(http1: Client, upstream: Upstream) -> None:
    http1.get(f"{CATALOG}/jobs/j/main.crop_2.log")

    assert "main.crop_2" == upstream.last.request.step


def test_no_client_can_set_the_mark(client: Client, upstream: Upstream) -> None:
    client.get("/workspaces/ada/jobs", f"{MARK}: /ades/eve/ogc-api")
    canonical = upstream.last.header(MARK)
    client.get(f"{ADES}/jobs", f"{MARK}: /ades/eve/ogc-api")

    assert canonical is None
    assert [ADES] == [value for key, value in upstream.last.metadata if key == MARK]


@pytest.mark.parametrize(
    "path",
    [
        "/api/catalogue/stac/catalogs/user/catalogs/ada",
        "/api/catalogue/stac/catalogs/user/catalogs/ada/",
        "/api/catalogue/stac/catalogs/user/catalogs/ada/collections",
        "/api/catalogue/stac/catalogs/user/catalogs/ada/conformance",
        "/api/catalogue/stac/catalogs/user/catalogs/ada/jobsx",
        "/api/catalogue/stac/catalogs/public/catalogs/ada/jobs",
        "/api/catalogue/stac/ada/jobs",
        "/api/catalogue/stac/catalogs/user/catalogs/" + "a" * 201 + "/jobs",
        "/ades/ada",
        "/ades/ada/ogc-apis/jobs",
        "/ades/ada/eve/ogc-api/jobs",
        "/x/ades/ada/ogc-api/jobs",
    ],
)
def test_what_only_looks_like_an_alias_is_not_found(client: Client, upstream: Upstream, path: str) -> None:
    assert 404 == client.get(path).problem["status"]
    assert upstream.calls == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{CATALOG}/jobs?parent=workspaces/eve", 400),
        (f"{CATALOG}/jobs/j?name=workspaces/eve/jobs/j", 400),
        (f"{CATALOG}/jobs/j/main.log?name=workspaces/eve/jobs/j", 400),
        (f"{CATALOG}/jobs/j/main.log?step=other", 400),
        (f"{CATALOG}/jobs?datetime=a&datetime=b", 400),
        (f"{CATALOG}/jobs?limit=x", 400),
        (f"{CATALOG}/jobs/../../eve/jobs", 400),
        (f"{CATALOG}/jobs/%2e%2e", 400),
        (f"{CATALOG}/jobs/a%2fb", 400),
        ("/api/catalogue/stac/catalogs/user/catalogs/ada%2f..%2feve/jobs", 400),
        ("/api/catalogue/stac/catalogs/user/catalogs/../jobs", 400),
        ("/ades/%2e%2e/ogc-api/jobs", 400),
        (f"{ADES}/../../eve/ogc-api/jobs", 400),
        (f"{ADES}/nothing", 404),
    ],
)
def test_what_is_refused_at_a_workspace_is_refused_under_its_alias(
    client: Client, upstream: Upstream, path: str, status: int
) -> None:
    response = client.get(path)

    assert status == response.problem["status"]
    assert path.partition("?")[0].replace("%2e", ".") == response.problem["instance"]
    assert upstream.calls == []


def test_methods_and_media_types_are_refused_under_an_alias(client: Client, upstream: Upstream) -> None:
    wrong_method = client.request("PATCH", f"{CATALOG}/jobs")
    wrong_type = client.request("POST", f"{CATALOG}/processes", "Content-Type: text/plain", body="{}")

    assert (405, "GET, HEAD, OPTIONS") == (wrong_method.problem["status"], wrong_method.headers["allow"])
    assert 415 == wrong_type.problem["status"]
    assert upstream.calls == []


@pytest.mark.parametrize(
    ("query", "limit", "skip"),
    [
        ("limit=10&skip=20&limit=10", 10, 20),
        ("limit=10&skip=20&limit=1", 1, 20),
        ("limit=10&limit=7&skip=1&skip=2&limit=5", 5, 2),
        ("limit=3", 3, None),
        ("&limit=3&&", 3, None),
    ],
)
def test_the_last_of_several_limits_counts(
    client: Client, upstream: Upstream, query: str, limit: int, skip: int | None
) -> None:
    response = client.get(f"{CATALOG}/jobs?{query}")

    assert 200 == response.status
    request = upstream.last.request
    assert (limit, skip) == (request.page_size, request.skip if request.HasField("skip") else None)
    assert 400 == client.get("/workspaces/ada/jobs?limit=1&limit=1").status


def test_other_parameters_stay_as_they_are(client: Client, upstream: Upstream) -> None:
    client.get(f"{CATALOG}/jobs?status=running&limit=2&processID=a%20b&status=failed&limit=3")

    request = upstream.last.request
    assert (["running", "failed"], ["a b"], 3) == (list(request.states), list(request.process_ids), request.page_size)


def test_every_answer_lets_pages_of_other_origins_in(client: Client) -> None:
    for response in (
        client.get(f"{CATALOG}/jobs"),
        client.get(f"{CATALOG}/jobs?limit=x"),
        client.request("HEAD", f"{ADES}/jobs"),
    ):
        assert "*" == response.headers["access-control-allow-origin"]
        assert "Content-Type,Authorization,Prefer" == response.headers["access-control-allow-headers"]
        assert "*" == response.headers["access-control-allow-methods"]
        assert "1728000" == response.headers["access-control-max-age"]
    asked = client.request("OPTIONS", f"{CATALOG}/processes/water/execution", "Origin: https://maps.example")
    assert 204 == asked.status
    assert {"authorization", "content-type", "prefer"} <= set(asked.headers["access-control-allow-headers"].split(", "))
    assert "access-control-max-age" not in client.get("/workspaces/ada/jobs").headers
