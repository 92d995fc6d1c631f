"""Addresses that users name and that must not be gone to, in packages and in inputs: nothing arrives there."""

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from tests.support.doors import Answer, Workspace, problem
from tests.support.listeners import HTTPS_PORT, Listener, Origin, listener
from tests.system.suite import Suite
from workflow_runner.v1.submission_service_pb2 import DeployProcessRequest

OGC_PACKAGE = "application/ogcapppkg+json"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: cat
inputs: {file: {type: File, inputBinding: {}}}
outputs: {copy: {type: stdout}}
"""


@pytest.fixture
def inside() -> Iterator[Listener]:
    """Something in our network, which everybody is kept from."""
    with listener(also=("127.0.0.1", "::1")) as inside:
        yield inside
        assert not inside.was_reached()


def spellings(address: str) -> dict[str, str]:
    """The ways to write an address, and places of the same kind that every cloud has."""
    number = int(ipaddress.IPv4Address(address))
    at = f":{HTTPS_PORT}/package.cwl"
    return {
        "plain": f"https://{address}{at}",
        "number": f"https://{number}{at}",
        "hexadecimal": f"https://{number:#x}{at}",
        "octal": f"https://{'.'.join(f'0{int(part):o}' for part in address.split('.'))}{at}",
        "mapped": f"https://[::ffff:{address}]{at}",
        "compatible": f"https://[::{address}]{at}",
        "translated": f"https://[64:ff9b::{address}]{at}",
        "user": f"https://example.org@{address}{at}",
        "http": f"http://{address}{at}",
        "127.0.0.1": f"https://127.0.0.1{at}",
        "2130706433": f"https://2130706433{at}",
        "127.1": f"https://127.1{at}",
        "zero": f"https://0{at}",
        "localhost": f"https://localhost{at}",
        "localhost-dot": f"https://localhost.{at}",
        "loopback-6": f"https://[::1]{at}",
        "metadata": "https://169.254.169.254/latest/meta-data/",
        "metadata-mapped": "https://[::ffff:169.254.169.254]/latest/meta-data/",
        "metadata-6": "https://[fd00:ec2::254]/latest/meta-data/",
        "metadata-name": "https://metadata.google.internal/computeMetadata/v1/",
        "cluster": "https://kubernetes.default.svc/api",
        "file": "file:///etc/passwd",
        "gopher": f"gopher://{address}:{HTTPS_PORT}/x",
        "ssh-port": "https://93.184.216.34:22/x",
    }


def deploy_from(workspace: Workspace, url: str) -> tuple[Answer, Any]:
    """Has the package at an address deployed, over REST and over gRPC."""
    body = json.dumps({"executionUnit": {"href": url, "type": "application/cwl"}})
    package = HttpBody(content_type=OGC_PACKAGE, data=body.encode())
    return (
        workspace.deploy(body, OGC_PACKAGE),
        workspace.call("DeployProcess", DeployProcessRequest(parent=f"workspaces/{workspace.name}", package=package)),
    )


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("spelling", spellings("127.0.0.1"))
def test_a_package_is_not_fetched_from_a_private_address(workspace: Workspace, inside: Listener, spelling: str) -> None:
    answer, refusal = deploy_from(workspace, spellings(inside.address)[spelling])

    document = problem(answer, 400, "URL_REFUSED")
    assert "Give a public https address" in document["detail"]
    assert (grpc.StatusCode.INVALID_ARGUMENT, "URL_REFUSED") == (refusal.code, refusal.reason)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("spelling", ["plain", "number", "mapped", "localhost", "metadata", "file", "user"])
def test_a_redirect_to_a_private_address_is_not_followed(
    workspace: Workspace, inside: Listener, origin: Origin, spelling: str
) -> None:
    page = f"/redirects/{workspace.name}"
    origin.pages[page] = (302, {"Location": spellings(inside.address)[spelling]}, b"")

    answer, refusal = deploy_from(workspace, origin.url + page)

    problem(answer, 400, "URL_REFUSED")
    assert "URL_REFUSED" == refusal.reason
    assert [page, page] == [asked for asked in origin.asked if asked == page]


@pytest.mark.usefixtures("leaves_nothing")
def test_what_cannot_be_fetched_is_said_without_what_was_answered(workspace: Workspace, origin: Origin) -> None:
    secret = "what-only-the-origin-knows"
    origin.pages |= {
        "/broken": (500, {}, secret.encode()),
        "/page": (200, {"Content-Type": "text/html"}, secret.encode()),
        "/large": (200, {"Content-Type": "application/cwl"}, b"x" * (2 << 20)),
        "/circle": (302, {"Location": "/circle"}, secret.encode()),
        "/secret": (200, {"Content-Type": "application/cwl"}, secret.encode()),
    }

    answers = {page: deploy_from(workspace, origin.url + page)[0] for page in ("/broken", "/page", "/large", "/circle")}
    unreadable = deploy_from(workspace, f"{origin.url}/secret")[0]

    for answer in answers.values():
        problem(answer, 400, "FETCH_FAILED")
    assert unreadable.status == 400
    assert secret not in str([*answers.values(), unreadable])


def test_the_rig_itself_lets_packages_through(workspace: Workspace, origin: Origin) -> None:
    origin.pages["/tool.cwl"] = (200, {"Content-Type": "application/cwl"}, TOOL.encode())
    origin.pages["/moved"] = (302, {"Location": "/tool.cwl"}, b"")

    answer, _ = deploy_from(workspace, f"{origin.url}/moved")

    assert (201, "tool") == (answer.status, answer.json["id"])


@pytest.mark.usefixtures("inside")
def test_an_input_is_not_fetched_from_a_private_address(
    suite: Suite, workspace: Workspace, inside: Listener, origin: Origin
) -> None:
    assert workspace.deploy(TOOL).status == 201
    origin.pages["/away"] = (302, {"Location": f"https://{inside.address}:{HTTPS_PORT}/x"}, b"")
    places = spellings(inside.address)
    urls = [places[name] for name in ("plain", "mapped", "metadata", "localhost", "http")]
    before = suite.traces(workspace)

    refused = [workspace.execute("tool", {"file": {"href": url}}) for url in urls]
    job = workspace.end_of(workspace.accept("tool", {"file": {"href": f"{origin.url}/away"}}))

    assert [["/inputs/file"]] * len(urls) == [
        [error["pointer"] for error in problem(answer, 400, "URL_REFUSED")["errors"]] for answer in refused
    ]
    # A redirect is met only when the file is fetched.
    assert ("failed", "INPUT_UNAVAILABLE") == (job["status"], job["failure"]["reason"])
    assert "is not fetched" in job["failure"]["message"]
    suite.leaves_only_jobs(workspace, before)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("spelling", spellings("127.0.0.1"))
def test_a_value_by_reference_is_not_fetched_from_a_private_address(
    workspace: Workspace, inside: Listener, spelling: str
) -> None:
    href = spellings(inside.address)[spelling]

    answer = workspace.execute("echo", {"message": {"href": href, "type": "text/plain"}})

    document = problem(answer, 400, "URL_REFUSED")
    assert ["/inputs/message/href"] == [error["pointer"] for error in document["errors"]]


def test_a_redirect_of_a_value_to_a_private_address_is_not_followed(
    workspace: Workspace, inside: Listener, origin: Origin
) -> None:
    origin.pages["/value-away"] = (302, {"Location": f"https://{inside.address}:{HTTPS_PORT}/x"}, b"")

    answer = workspace.execute("echo", {"message": {"href": f"{origin.url}/value-away"}})

    problem(answer, 400, "URL_REFUSED")
