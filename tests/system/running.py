"""A whole installation, brought up by the command that people use."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from services.standalone.tokens import Issuer, current_user
from tests.support.listeners import Origin

COMMAND = (sys.executable, "-m", "services.standalone")
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `body` is the JSON document in it, None without one."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Running:
    """`workflow-runner up` on a free port."""

    url: str
    """The address of the first workspace."""
    token: str
    """A token of its owner."""
    seconds: float
    """How long the last start took."""

    def __init__(
        self,
        directory: Path,
        *,
        options: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = 0
        self._options = options
        self._command = command
        self._environment = dict(os.environ if environment is None else environment)
        self._output = directory.parent / f"{directory.name}.out"
        self.start()

    def start(self) -> None:
        """Brings it up, after the first time on the same port."""
        began = time.monotonic()
        with open(self._output, "wb") as output:
            self.process = subprocess.Popen(
                [*self._command, "up", "--data-dir", str(self.directory), "--port", str(self.port), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=self._environment,
            )
        try:
            self.url = self.wait_for("Ready after").rpartition(" at ")[2].rstrip("/")
            self.seconds = time.monotonic() - began
            self.wait_for("export TOKEN=")
            self.token = Issuer(self.directory / "identity").user_token(
                "demo", role="owner", user=current_user(), lifetime=timedelta(hours=8)
            )
        except BaseException:
            self.kill()
            raise
        self.port = int(self.url.split(":")[2].split("/")[0])

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def wait_for(self, words: str) -> str:
        """Waits for a line with these words and gives it."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            for line in self.output.splitlines():
                if words in line:
                    return line.strip()
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {words!r} in: {self.output}")

    def call(
        self,
        path: str,
        *,
        workspace: str = "demo",
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Answer:
        """Asks for a path below a workspace, as the owner of the first one or as nobody."""
        request = urllib.request.Request(f"{self.url.rpartition('/')[0]}/{workspace}{path}", method=method)
        if not anonymous:
            request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return _answer(error.code, error.headers, error.read())

    def call_until(self, status: int, path: str, **arguments: Any) -> Answer:
        """Asks again until the answer has the status."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self.call(path, **arguments)
            except OSError as error:
                answer = Answer(0, {}, str(error))
            if answer.status == status:
                return answer
            assert time.monotonic() < give_up, answer
            time.sleep(0.05)

    def end_of(self, job: str) -> Any:
        """Waits until a job has ended and gives it."""
        return self.job_until({"successful", "failed", "dismissed"}, job)

    def job_until(self, states: Collection[str], job: str) -> Any:
        """Waits until a job is in one of the states and gives it."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            document = self.call_until(200, f"/jobs/{job}").body
            if document["status"] in states:
                return document
            assert time.monotonic() < give_up, (document, self.log("submission")[-5000:])
            time.sleep(0.1)

    def log(self, part: str) -> str:
        """What a part has written to its log."""
        return (self.directory / "logs" / f"{part}.log").read_text()

    def processes(self) -> dict[str, list[int]]:
        """Finds every process below the command, by the name of its program."""
        parents = {}
        names = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(") ")[2].split()
                    line = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                parents[int(entry)] = int(fields[1])
                module = line[line.index(b"-m") + 1] if b"-m" in line else line[0].rpartition(b"/")[2]
                names[int(entry)] = module.decode()
        found: dict[str, list[int]] = {}
        family = {self.process.pid}
        while children := {child for child, parent in parents.items() if parent in family} - family:
            family |= children
        for process in sorted(family & names.keys()):
            found.setdefault(names[process], []).append(process)
        return found

    def kill(self) -> None:
        """Kills the command and everything below it, all at once."""
        for process in [process for family in self.processes().values() for process in family]:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def stop(self) -> int:
        """Asks it to end and gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    is_json = "json" in headers.get("content-type", "")
    lower = {name.lower(): value for name, value in headers.items()}
    return Answer(status, lower, json.loads(body) if is_json and body else body.decode() or None)


@contextmanager
def scratch() -> Iterator[Path]:
    """Lends a directory with a short name."""
    directory = Path(tempfile.mkdtemp(prefix="wr-tests-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def fetching_from(origin: Origin, **settings: str) -> Iterator[Running]:
    """An installation up from an empty directory that may fetch from a server on this machine."""
    address = origin.url.removeprefix("http://").partition(":")[0]
    settings |= {
        "SUBMISSION_FETCH__HTTP_HOSTS": json.dumps([address]),
        "SUBMISSION_FETCH__PRIVATE_NETWORKS": json.dumps([f"{address}/32"]),
    }
    with scratch() as directory:
        running = Running(directory / "data", environment={**os.environ, **settings})
        try:
            yield running
        finally:
            running.stop()
