"""What schemathesis finds when it tries everything that the API definition says, and much that it does not say."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.doors import Workspace
from tests.support.listeners import Origin

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: [echo, hello]
inputs:
  size: int
  names: string[]?
  scene: File?
  mode: {type: {type: enum, symbols: [fast, exact]}, default: fast}
outputs: {said: {type: stdout}}
"""
CONFIG = """\
# No schema tells a page token, a package or an address from what is none.
[checks.positive_data_acceptance]
enabled = false

# Envoy itself refuses QUERY without a Content-Type, with 400.
[checks.unsupported_method]
enabled = false

# A URL that is too long is refused by the edge, whatever it holds.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 406, 409, 411, 412, 413, 414, 415, 416, 422]

# Inputs are read more liberally than their schemas say: clients send a text for a file, and qualify what need not be.
[[operations]]
include-path-regex = "/execution$"
checks.negative_data_rejection.enabled = false
"""


@pytest.mark.requirement("oas30/oas-impl", "oas30/completeness")
@pytest.mark.timeout(180)
def test_schemathesis_finds_nothing(workspace: Workspace, origin: Origin, tmp_path: Path) -> None:
    assert workspace.deploy(TOOL).status == 201
    workspace.end_of(workspace.accept("tool", {"size": 1}))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)

    with _dismissing(workspace):
        found = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "--config-file",
                str(tmp_path / "schemathesis.toml"),
                "run",
                f"http://127.0.0.1:{workspace.port}/workspaces/{workspace.name}/api",
                f"--header=Authorization: Bearer {workspace.token}",
                # So that no call waits for a job.
                "--header=Prefer: respond-async",
                "--phases=coverage,fuzzing,stateful",
                "--max-examples=3",
                "--seed=1",
                "--request-timeout=30",
                "--continue-on-failure",
                "--no-color",
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "ORIGIN": origin.url},
            capture_output=True,
            text=True,
            timeout=170,
        )

    assert "Failures:" not in found.stdout, found.stdout
    assert 0 == found.returncode, found.stdout + found.stderr


@contextmanager
def _dismissing(workspace: Workspace) -> Iterator[None]:
    """Dismisses whatever runs, so that no call that follows a job waits for its end."""
    done = threading.Event()

    def dismiss() -> None:
        while not done.wait(0.5):
            _dismiss_all(workspace)

    thread = threading.Thread(target=dismiss)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _dismiss_all(workspace)


def _dismiss_all(workspace: Workspace) -> None:
    for job in workspace.ask("/jobs?status=accepted,running&limit=1000").json["jobs"]:
        workspace.ask(f"/jobs/{job['jobID']}", method="DELETE")
