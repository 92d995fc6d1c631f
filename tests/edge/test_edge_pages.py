"""Pages for people: who gets one, how a browser says who it is, and what it sees when something is refused."""

import grpc
import pytest

from services.edge.operations import operations, page_paths
from services.web.assets import assets, checksum
from tests.edge.client import Client
from tests.edge.test_edge_routes import NAMES, example
from tests.edge.upstream import Answer, Upstream

BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TOKEN = "eyJh.eyJz-_.c2ln"
COOKIE = f"Cookie: theme=dark; workflow_runner_token={TOKEN}; other=1"
JOB = "/workspaces/ada/jobs/j-1"
PAGES = {
    example(operation.bindings[0].template).removeprefix("/html"): operation.name
    for operation in operations()
    if operation.is_page
}


def refusing(code: grpc.StatusCode, problem: str | None = None) -> Answer:
    def answer(request: object, context: grpc.ServicerContext) -> None:
        if problem:
            context.set_trailing_metadata((("x-problem", problem), ("x-http-status", "404")))
        context.abort(code, 'It "said" <b>no</b> & \N{SNOWMAN}.')

    return answer


@pytest.mark.parametrize("path", PAGES)
def test_whoever_prefers_html_gets_the_page_of_a_resource(client: Client, upstream: Upstream, path: str) -> None:
    assert client.get(path, BROWSER).status == 200
    assert client.get(path).status == 200
    assert client.get(f"{path}?f=html").status == 200
    assert client.get(f"{path}?f=json", BROWSER).status == 200
    assert client.get(path + "/", BROWSER).status == 200

    rpcs = [call.rpc for call in upstream.calls]
    page = PAGES[path]
    assert [page, page, page] == [rpcs[0], rpcs[2], rpcs[4]]
    assert rpcs[1] == rpcs[3] != page
    assert {NAMES["workspaces"]} == {
        (getattr(call.request, "name", "") or call.request.parent).split("/")[1] for call in upstream.calls
    }


def test_every_page_has_the_path_of_a_resource() -> None:
    resources = {
        example(binding.template)
        for operation in operations()
        if not operation.is_page
        for binding in operation.bindings
        if binding.verb == "GET"
    }

    assert set(PAGES) <= resources
    assert len(PAGES) == len(page_paths())


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html", True),
        ("TEXT/HTML ; charset=utf-8", True),
        ("application/xhtml+xml, */*", True),
        ("text/html, application/json", True),
        ("application/json, text/html", False),
        ("application/json;q=0.8, text/html;q=0.9", True),
        ("application/json;q=0.9, text/html;q=0.8", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("*/*", False),
        ("text/*", True),
        ("text/*, */*", True),
        ("", False),
        ("text/event-stream", False),
        (", ;,;q=1,text/html;q=.5", True),
    ],
)
def test_the_better_of_html_and_json_is_answered(http1: Client, upstream: Upstream, accept: str, is_page: bool) -> None:
    assert http1.get(JOB, f"Accept: {accept}").status == 200
    assert ("ShowJob" if is_page else "GetJob") == upstream.last.rpc


def test_the_query_reaches_the_page(http1: Client, upstream: Upstream) -> None:
    assert http1.get("/workspaces/ada/jobs?status=failed&f=html&limit=3").status == 200
    assert ("ShowJobs", ["failed"], 3) == (
        upstream.last.rpc,
        list(upstream.last.request.states),
        upstream.last.request.page_size,
    )


def test_the_query_of_a_page_is_judged_as_that_of_its_resource(http1: Client, upstream: Upstream) -> None:
    for query in ("limit=x", "nothing=1", "parent=workspaces/evil", "limit=1&limit=2", "f=xml", "f=html&f=json"):
        assert http1.get(f"/workspaces/ada/jobs?{query}", BROWSER).status == 400, query
    assert upstream.calls == []


def test_what_has_no_page_is_answered_as_it_is(http1: Client, upstream: Upstream) -> None:
    http1.get(f"{JOB}/results/out-1", BROWSER)
    assert upstream.last.rpc == "ReadResult"
    http1.get(f"{JOB}/logs/step-1", BROWSER)
    assert upstream.last.rpc == "ReadLog"


def test_head_of_a_page_is_one_without_a_body(client: Client, upstream: Upstream) -> None:
    response = client.request("HEAD", JOB, BROWSER)

    assert (200, "ShowJob") == (response.status, upstream.last.rpc)
    assert response.body.endswith(b"\r\n\r\n"), "nothing but the head"


def test_only_get_asks_for_a_page(client: Client, upstream: Upstream) -> None:
    client.request("DELETE", JOB, BROWSER)

    assert upstream.last.rpc == "DismissJob"


@pytest.mark.parametrize("headers", [(), ("X-Page: 1",), (BROWSER,), (BROWSER, "X-Page: 1")])
def test_nobody_reaches_a_page_past_its_resource(client: Client, upstream: Upstream, headers: tuple[str, ...]) -> None:
    for path in PAGES:
        assert client.get(f"/html{path}", *headers).status == 404
    assert upstream.calls == []


def test_caches_learn_that_two_answers_share_a_path(http1: Client) -> None:
    assert http1.get(JOB).headers["vary"] == "accept"
    assert http1.get(JOB, BROWSER).headers["vary"] == "accept"
    assert "vary" not in http1.get(f"{JOB}/events").headers


# --- signing in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers", "counts"),
    [
        ("GET", ["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"], True),
        ("GET", ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"], True),
        ("GET", ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate"], True),
        ("GET", [], True),
        ("HEAD", [], True),
        ("GET", ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"], False),
        ("GET", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], False),
        ("DELETE", ["Sec-Fetch-Site: same-origin"], True),
        ("DELETE", ["Sec-Fetch-Site: same-site", "Origin: http://HOST"], False),
        ("DELETE", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], False),
        ("DELETE", ["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"], False),
        ("DELETE", ["Origin: http://HOST"], True),
        ("DELETE", ["Origin: https://HOST"], True),
        ("DELETE", ["Origin: http://evil.example"], False),
        ("DELETE", ["Origin: http://HOST.evil.example"], False),
        ("DELETE", ["Origin: null"], False),
        ("DELETE", [], False),
    ],
)
def test_the_token_in_a_cookie_counts_for_our_own_pages_and_for_following_a_link(
    client: Client, upstream: Upstream, method: str, headers: list[str], counts: bool
) -> None:
    host = client.root.removeprefix("http://")

    client.request(method, JOB, COOKIE, *(header.replace("HOST", host) for header in headers))

    assert (f"Bearer {TOKEN}" if counts else None) == upstream.last.header("authorization")
    assert upstream.last.header("cookie") is None


def test_a_token_in_a_header_goes_before_one_in_a_cookie(client: Client, upstream: Upstream) -> None:
    client.get(JOB, COOKIE, "Authorization: Bearer other", "Sec-Fetch-Site: same-origin")

    assert upstream.last.header("authorization") == "Bearer other"


@pytest.mark.parametrize(
    "cookie", ["workflow_runner_token=", "workflow_runner_token= ", "my_workflow_runner_token=a.b.c", "a=1", "=;;="]
)
def test_other_cookies_are_no_tokens(http1: Client, upstream: Upstream, cookie: str) -> None:
    http1.get(JOB, f"Cookie: {cookie}")

    assert upstream.last.header("authorization") is None


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_people_see_a_refusal_as_a_page(client: Client, upstream: Upstream) -> None:
    upstream.answers["ShowJob"] = refusing(
        grpc.StatusCode.NOT_FOUND,
        r'{"type":"about:blank","title":"Not \"Found\"","status":404,"detail":"No job <script>alert(\"1\")</script> '
        r'\\\u00fc \ud83d\ude00 TITLE.","instance":"/x","errors":[{"pointer":"/a","detail":"other"}]}',
    )

    response = client.get(JOB, BROWSER)

    text = response.body.decode()
    assert (404, "text/html; charset=utf-8") == (response.status, response.headers["content-type"])
    assert "<h1>Not &quot;Found&quot;</h1>" in text
    assert "No job &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; \\ü \N{GRINNING FACE} TITLE." in text
    assert "<script" not in text
    assert 'href="/workspaces/ada/jobs"' in text
    assert "script-src" not in response.headers["content-security-policy"]
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert str(len(response.body)) == response.headers["content-length"]


def test_programs_get_the_problem_document_all_the_same(client: Client, upstream: Upstream) -> None:
    upstream.answers["GetJob"] = refusing(grpc.StatusCode.NOT_FOUND)

    assert client.get(JOB).problem["status"] == 404


def test_a_refusal_without_a_document_reads_too(client: Client, upstream: Upstream) -> None:
    upstream.answers["ShowJob"] = refusing(grpc.StatusCode.NOT_FOUND)

    text = client.get(JOB, BROWSER).body.decode()

    assert "It &quot;said&quot; &lt;b&gt;no&lt;/b&gt; &amp; \N{SNOWMAN}." in text
    assert "<h1>Not Found</h1>" in text


def test_what_the_edge_refuses_is_a_page_too(client: Client) -> None:
    response = client.get("/nothing/<b>/here?x=<b>", BROWSER)

    assert (404, "text/html; charset=utf-8") == (response.status, response.headers["content-type"])
    assert b"There is nothing at this path." in response.body
    assert b"<b>" not in response.body
    assert client.get("/nothing").problem["status"] == 404


def test_whoever_is_not_signed_in_is_led_to_where_that_can_be_done(client: Client, upstream: Upstream) -> None:
    upstream.answers["ShowJobs"] = refusing(grpc.StatusCode.UNAUTHENTICATED)

    first = client.get('/workspaces/ada/jobs?status=failed&processID="<b>', BROWSER)
    again = client.get("/workspaces/ada/jobs", BROWSER, COOKIE)

    assert (401, 401) == (first.status, again.status)
    assert b'href="../../signin?next=/workspaces/ada/jobs%3Fstatus%3Dfailed%26processID%3D%22%3Cb%3E"' in first.body
    assert b'href="../../signin?next=/workspaces/ada/jobs&amp;again=1"' in again.body


def test_head_of_a_refused_page_has_no_body(client: Client, upstream: Upstream) -> None:
    upstream.answers["ShowJob"] = refusing(grpc.StatusCode.NOT_FOUND)

    response = client.request("HEAD", JOB, BROWSER)

    assert response.status == 404
    assert response.body.endswith(b"\r\n\r\n"), "nothing but the head"


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", [asset for asset in assets() if asset.name != "signin.html"], ids=lambda it: it.name)
def test_files_of_pages_are_kept_as_long_as_they_stay_the_same(client: Client, asset) -> None:
    exact = client.get(f"/static/{checksum()}/{asset.name}")
    latest = client.get(f"/static/latest/{asset.name}")
    older = client.get(f"/static/0123abcd/{asset.name}")

    for response in (exact, latest, older):
        assert (200, asset.media_type) == (response.status, response.headers["content-type"])
        assert asset.content.encode() == response.body
    assert "immutable" in exact.headers["cache-control"]
    assert latest.headers["cache-control"] == older.headers["cache-control"] == "no-cache"


def test_the_page_to_sign_in_needs_no_token_and_no_service(client: Client, upstream: Upstream) -> None:
    for response in (client.get("/signin"), client.get("/signin?next=/x"), client.get("/", BROWSER)):
        assert (200, "text/html; charset=utf-8") == (response.status, response.headers["content-type"])
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert b"Sign in" in response.body
    assert client.get("/").headers["content-type"] == "application/json"
    assert upstream.calls == []
