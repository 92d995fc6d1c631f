"""Every operation of the contract can be reached, by its methods and no others."""

import itertools
from urllib.parse import quote

import pytest
from google.api import annotations_pb2

from services.edge.operations import CLUSTERS, operations, page_paths
from services.edge.rest_routes import BODY_TYPES
from tests.edge.client import Client
from tests.edge.upstream import Upstream

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
NAMES = {"workspaces": "ada", "processes": "water", "jobs": "j-1", "ingestions": "i-1"}


def example(template: str) -> str:
    """A path of the template, with a name of its own for every variable."""
    path: list[str] = []
    for part in template.replace("{name=", "").replace("{parent=", "").replace("}", "").split("/"):
        match part:
            case "*":
                path.append(NAMES[path[-1]])
            case "{step" | "{output":
                path.append(part[1:] + "-1")
            case "{path=**":
                path.append("a/b.tif")
            case _:
                path.append(part)
    return "/".join(path)


SERVED = {
    (binding.verb, example(binding.template)): operation
    for operation in operations()
    if not operation.is_page
    for binding in operation.bindings
}
PATHS = sorted({path for _, path in SERVED})


def content_type(verb: str, path: str) -> list[str]:
    operation = SERVED[verb, path]
    return [f"Content-Type: {BODY_TYPES[operation.body][0]}"] if operation.body else []


def test_every_rule_of_the_contract_is_served() -> None:
    rules = 0
    for service in CLUSTERS:
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            rules += 1 + len(rule.additional_bindings)

    assert rules == len(SERVED) + len(page_paths())


def test_every_body_has_its_media_types() -> None:
    assert {operation.body for operation in operations()} - {""} == set(BODY_TYPES)


@pytest.mark.parametrize(("verb", "path"), SERVED)
def test_a_request_reaches_its_rpc(client: Client, upstream: Upstream, verb: str, path: str) -> None:
    body = "{}" if SERVED[verb, path].body else None

    response = client.request(verb, path, *content_type(verb, path), body=body)

    assert response.status == 200
    assert client.version == response.version
    assert [SERVED[verb, path].name] == [call.rpc for call in upstream.calls]
    request = upstream.last.request
    name = getattr(request, "name", "") or request.parent
    assert path.startswith(f"/{name}")
    rest = [getattr(request, field) for field in ("step", "output", "path") if getattr(request, field, "")]
    assert path.removeprefix(f"/{name}").endswith("/".join(["", *rest]))


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused_with_the_ones_there_are(client: Client, upstream: Upstream, path: str) -> None:
    options = client.request("OPTIONS", path)
    allowed = options.headers["allow"].split(", ")

    assert options.status == 204
    assert options.body == b""
    assert {verb for verb, of in SERVED if of == path} == set(allowed) - {"HEAD", "OPTIONS"}
    for method in set(METHODS) - set(allowed):
        response = client.request(method, path)
        assert (405, ", ".join(allowed)) == (response.status, response.headers["allow"])
        assert response.headers["content-type"] == "application/problem+json"
    assert upstream.calls == []


@pytest.mark.parametrize("path", [path for verb, path in SERVED if verb == "GET" and not path.endswith(".tif")])
def test_a_slash_at_the_end_makes_no_difference(http1: Client, upstream: Upstream, path: str) -> None:
    assert http1.get(path + "/").status == 200
    assert SERVED["GET", path].name == upstream.last.rpc


def test_head_is_answered_like_get_without_the_body(client: Client) -> None:
    for (verb, path), operation in SERVED.items():
        if verb != "GET" or (operation.streams and operation.name != "ReadResult"):
            continue
        get, head = client.get(path), client.request("HEAD", path)
        assert get.status == head.status
        assert get.headers["content-type"] == head.headers["content-type"]


def test_head_is_refused_where_the_answer_may_have_no_end(client: Client, upstream: Upstream) -> None:
    for tail in ("events", "logs/one"):
        response = client.request("HEAD", f"/workspaces/ada/jobs/j/{tail}")
        assert (response.status, response.headers["allow"]) == (405, "GET, OPTIONS")
    assert upstream.calls == []


def test_the_root_says_where_to_go(client: Client) -> None:
    response = client.get("/")

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json["linkTemplates"][0]["uriTemplate"] == "/workspaces/{workspace}"
    assert client.request("POST", "/").problem["status"] == 405


def test_a_page_of_another_origin_may_call_and_read(client: Client) -> None:
    origin = "Origin: https://maps.example"
    asked = client.request(
        "OPTIONS",
        "/workspaces/ada/processes/water/execution",
        *(origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, prefer"),
    )
    answers = [client.get("/workspaces/ada/jobs", origin), client.get("/nothing", origin)]

    assert asked.status == 204
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "prefer", "idempotency-key"} <= set(
        asked.headers["access-control-allow-headers"].split(", ")
    )
    for answer in (asked, *answers):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert {"location", "link", "preference-applied", "retry-after", "content-range", "etag"} <= set(
            answer.headers["access-control-expose-headers"].split(", ")
        )


def test_names_are_passed_as_they_are(client: Client, upstream: Upstream) -> None:
    for sent, received in (
        ("a:b", "a:b"),
        ("a%20b", "a b"),
        ("%C3%A9", "é"),
        ("a;b,c@d~e", "a;b,c@d~e"),
        ("a+b", "a+b"),
    ):
        assert client.get(f"/workspaces/ada/jobs/{sent}").status == 200
        assert f"workspaces/ada/jobs/{received}" == upstream.last.request.name
    assert client.get("/workspaces/ada/jobs/j/results/out/a%20b/%C3%A9%2B%28.tif").status == 200
    assert upstream.last.request.path == "a b/é+(.tif"


@pytest.mark.parametrize(
    "name",
    [
        ".zgroup",
        "a#b",
        "a%23b",
        "what?",
        'quo"te',
        "new\nline",
        "\t",
        "back\\slash",
        "東京.tif",
        "e\u0301",
        "%",
        "%2F",
        "...",
    ],
)
def test_names_of_files_and_steps_are_passed_as_they_are(client: Client, upstream: Upstream, name: str) -> None:
    job, encoded = "/workspaces/ada/jobs/j", quote(name, safe="")

    assert client.get(f"{job}/results/{encoded}/{encoded}/{encoded}.tif").status == 200
    assert (name, f"{name}/{name}.tif") == (upstream.last.request.output, upstream.last.request.path)
    assert client.get(f"{job}/logs/{encoded}").status == 200
    assert name == upstream.last.request.step
    if name in ("new\nline", "\t", "back\\slash"):
        assert client.get(f"/workspaces/ada/jobs/{encoded}").status == 400


def test_query_parameters_arrive(client: Client, upstream: Upstream) -> None:
    query = (
        "limit=5&processID=a&processID=b,c&status=running&datetime=2024-01-01T00:00:00Z/..&minDuration=1&pageToken=x%3D"
    )

    assert client.get(f"/workspaces/ada/jobs?{query}").status == 200

    request = upstream.last.request
    assert request.parent == "workspaces/ada"
    assert (request.page_size, list(request.process_ids), list(request.states)) == (5, ["a", "b,c"], ["running"])
    assert (request.datetime, request.min_duration, request.page_token) == ("2024-01-01T00:00:00Z/..", 1, "x=")


def test_bodies_arrive_byte_for_byte(client: Client, upstream: Upstream) -> None:
    sent = b'{"inputs":{"big":9007199254740993,"float":1.0, "twice":1,"twice":2}}'

    client.request("POST", "/workspaces/ada/processes/water/execution", "Content-Type: application/json", body=sent)
    assert (sent, "application/json") == (
        upstream.last.request.request.data,
        upstream.last.request.request.content_type,
    )
    for media_type, path in itertools.product(BODY_TYPES["package"], ("processes?w=main", "processes/water?w=main")):
        verb = "POST" if path.startswith("processes?") else "PUT"
        typed = f"{media_type}; charset=utf-8"
        client.request(verb, f"/workspaces/ada/{path}", f"Content-Type: {typed}", body=b"\x00\xff")
        request = upstream.last.request
        assert (b"\x00\xff", typed, "main") == (request.package.data, request.package.content_type, request.w)
