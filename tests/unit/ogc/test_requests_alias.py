"""Under a path of the EO DataHub every link stays under it, as far as it goes."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ogc.requests import RestRequest
from services.shared.names import PROCESS_ID, WORKSPACE

CATALOG = "/api/catalogue/stac/catalogs/user/catalogs/ada"
ADES = "/ades/ada/ogc-api"


def request(path: str, alias: str | None) -> RestRequest:
    metadata = [
        ("x-envoy-original-path", path),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "staging.example"),
        *([("x-workflow-runner-alias", alias)] if alias else []),
    ]
    rest = RestRequest.of(metadata, None)
    assert rest is not None
    return rest


@pytest.mark.parametrize(
    ("alias", "name", "expected"),
    [
        (None, "workspaces/ada/jobs/j", "/workspaces/ada/jobs/j"),
        (CATALOG, "workspaces/ada/jobs/j", f"{CATALOG}/jobs/j"),
        (CATALOG, "workspaces/ada/processes", f"{CATALOG}/processes"),
        (CATALOG, "workspaces/ada", "/workspaces/ada"),
        (CATALOG, "workspaces/ada/conformance", "/workspaces/ada/conformance"),
        (CATALOG, "workspaces/ada/callbacks", "/workspaces/ada/callbacks"),
        (ADES, "workspaces/ada", ADES),
        (ADES, "workspaces/ada/conformance", f"{ADES}/conformance"),
        (ADES, "workspaces/ada/jobs/j/results/jobs", f"{ADES}/jobs/j/results/jobs"),
    ],
)
def test_a_link_leads_under_the_path_that_the_client_knows(alias: str | None, name: str, expected: str) -> None:
    assert f"https://staging.example{expected}" == request("/workspaces/ada/jobs", alias).url(name)


@pytest.mark.parametrize(
    ("alias", "instance"),
    [(None, "/workspaces/ada/jobs/a b"), (CATALOG, f"{CATALOG}/jobs/a b"), (ADES, f"{ADES}/jobs/a b")],
)
def test_a_problem_names_the_path_that_was_asked_for(alias: str | None, instance: str) -> None:
    assert instance == request("/workspaces/ada/jobs/a%20b?limit=1", alias).instance


def test_a_prefix_of_a_proxy_comes_before_the_alias() -> None:
    metadata = [
        ("x-envoy-original-path", "/workspaces/ada/jobs"),
        ("x-forwarded-prefix", "/runner"),
        ("x-workflow-runner-alias", ADES),
    ]
    rest = RestRequest.of(metadata, None)

    assert rest is not None
    assert f"http://localhost/runner{ADES}/jobs" == rest.url("workspaces/ada", "jobs")


@given(
    st.from_regex(WORKSPACE, fullmatch=True),
    st.sampled_from(["processes", "jobs"]),
    st.lists(st.from_regex(PROCESS_ID, fullmatch=True), max_size=4),
    st.booleans(),
)
def test_every_link_leads_back_to_its_resource(workspace: str, kind: str, tail: list[str], older: bool) -> None:
    alias = f"/ades/{workspace}/ogc-api" if older else f"/api/catalogue/stac/catalogs/user/catalogs/{workspace}"

    url = request(f"/workspaces/{workspace}/{kind}", alias).url(f"workspaces/{workspace}", kind, *tail)

    path = urlsplit(url).path
    assert path.startswith(f"{alias}/")
    # What the edge does with it.
    assert f"/workspaces/{workspace}/" + "/".join((kind, *tail)) == f"/workspaces/{workspace}" + path[len(alias) :]
