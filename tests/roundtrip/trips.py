"""One trip: a package is deployed and executed, and its results are fetched. A failure reports what was sent."""

import itertools
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from hypothesis import HealthCheck, Phase, note, settings

from tests.support.doors import ENDED, Answer, Workspace

CWL_JSON, JSON = "application/cwl+json", "application/json"
EXAMPLES = int(os.environ.get("ROUNDTRIP_EXAMPLES") or 0)
"""How many examples all tests take together in a run of their own; without it a few that are always the same."""
_PATIENCE_SECONDS = 120
_numbers = itertools.count(1)


def share(percent: int, *, few: int) -> Callable[[Any], Any]:
    """Settings of a test that takes its part of all examples, or just a few where no number was asked for."""
    return settings(
        max_examples=max(1, EXAMPLES * percent // 100) if EXAMPLES else few,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        # A failure is made small only where there is time for it.
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
        suppress_health_check=list(HealthCheck),
    )


def process_id() -> str:
    """An id that no process of this run has had."""
    return f"trip-{os.getpid()}-{next(_numbers)}"


def written(package: Mapping[str, Any]) -> str:
    """A package as JSON, which stands in the report of a failure."""
    body = json.dumps(package, ensure_ascii=False)
    note(f"package ({CWL_JSON}):\n{body}")
    return body


def deploy(workspace: Workspace, package: Mapping[str, Any]) -> Answer:
    """Deploys a package."""
    return workspace.deploy(written(package), CWL_JSON)


def execute(workspace: Workspace, process: str, inputs: Mapping[str, Any]) -> str:
    """Has a job accepted, waits until it has been successful and gives its id."""
    note(f"request:\n{json.dumps({'inputs': inputs})}")
    job = workspace.accept(process, inputs)
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while (document := workspace.job(job))["status"] not in ENDED:
        assert time.monotonic() < give_up, f"job {job} has not ended: {document}"
        time.sleep(0.02)
    assert "successful" == document["status"], document
    return job


def results(workspace: Workspace, job: str) -> dict[str, Any]:
    """The results document of a job."""
    answer = workspace.ask(f"/jobs/{job}/results", headers={"Accept": JSON})
    assert 200 == answer.status, answer
    document: dict[str, Any] = answer.json
    note(f"results:\n{json.dumps(document)}")
    return document


def fetch(workspace: Workspace, href: str) -> bytes:
    """What lies at a link."""
    place = urlsplit(href)
    answer = workspace.ask(place.path + (f"?{place.query}" if place.query else ""), absolute=True)
    assert 200 == answer.status, (href, answer)
    assert len(answer.body) == int(answer.headers["content-length"])
    return answer.body
