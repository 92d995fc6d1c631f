"""Requests as a program outside sends them: by curl, byte for byte, over HTTP/1.1 or HTTP/2."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> Any:
        """The problem document; fails when it is none."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert {"type", "title", "status", "detail"} <= set(problem)
        assert self.status == problem["status"]
        return problem


@dataclass(frozen=True)
class Client:
    """Speaks one version of HTTP to the edge."""

    root: str
    version: str = "1.1"

    def request(
        self, method: str, path: str, *headers: str, body: bytes | str | None = None, timeout: float = 20
    ) -> Response:
        with tempfile.TemporaryDirectory() as directory:
            head, content, sent = (Path(directory, name) for name in ("head", "content", "sent"))
            command = ["curl", "--silent", "--show-error", "--path-as-is", "--globoff", "--max-time", str(timeout)]
            command += ["--http2-prior-knowledge" if self.version == "2" else "--http1.1"]
            command += ["--dump-header", str(head), "--output", str(content), "--write-out", "%{http_version}"]
            command += ["--head"] if method == "HEAD" else ["--request", method]
            if body is not None:
                sent.write_bytes(body.encode() if isinstance(body, str) else body)
                command += ["--data-binary", f"@{sent}"]
                if not any(header.lower().startswith("content-type") for header in headers):
                    command += ["--header", "Content-Type:"]
            for header in headers:
                command += ["--header", header]
            done = subprocess.run([*command, self.root + path], capture_output=True, text=True, check=False)
            # 18 and 92 are transfers that broke off: never what the edge does.
            assert done.returncode == 0, done.stderr
            blocks = [block for block in head.read_text().replace("\r\n", "\n").split("\n\n") if block.strip()]
            status, *fields = blocks[-1].split("\n")
            return Response(
                status=int(status.split()[1]),
                headers={key.lower(): value.strip() for key, _, value in (line.partition(":") for line in fields)},
                body=content.read_bytes() if content.exists() else b"",
                version=done.stdout,
            )

    def get(self, path: str, *headers: str) -> Response:
        return self.request("GET", path, *headers)
