"""The README's commands work as they stand there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.suite import Suite

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GRPCURL = ROOT / ".tools/bin/grpcurl"


def commands(heading: str) -> str:
    """The shell commands of a section, in order."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(blocks)


def bash(script: str, suite: Suite) -> str:
    """Runs commands as a reader would, but for the port and the place of the data."""
    script = script.replace("localhost:8080", f"127.0.0.1:{suite.running.port}")
    script = script.replace("workflow-runner token", f"workflow-runner token --data-dir {suite.directory.path}")
    path = f"{GRPCURL.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def first_workflow(suite: Suite) -> str:
    """What the first section's commands print."""
    return bash(commands("A first workflow"), suite)


def test_the_first_workflow_ends_with_its_statistics(first_workflow: str) -> None:
    assert '"mean": 962.97' in first_workflow


def test_the_first_workflow_can_be_followed(first_workflow: str) -> None:
    assert "event: end" in first_workflow
    assert '"status":"successful"' in first_workflow.replace(" ", "")


@pytest.mark.skipif(not GRPCURL.exists() and not shutil.which("grpcurl"), reason="grpcurl is not built: `make tools`")
def test_the_same_works_with_grpcurl(suite: Suite) -> None:
    token = "export TOKEN=$(.venv/bin/workflow-runner token --workspace demo)\n"

    printed = bash(token + commands("The same over gRPC"), suite)

    assert "workflow_runner.v1.StatusService" in printed
    assert '"status": "successful"' in printed
