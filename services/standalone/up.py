"""`workflow-runner up`: brings an installation up, says what to do with it, takes it down."""

import asyncio
import shlex
import signal
import socket
import sys
import time
from dataclasses import dataclass
from datetime import timedelta

from services.standalone.directory import DataDirectory, default_directory
from services.standalone.installation import Door, Installation
from services.standalone.refusals import CannotStart
from services.standalone.tokens import Issuer, current_user

FIRST_WORKSPACE = "demo"
TOKEN_HOURS = 8


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the person at the command line chose."""

    directory: DataDirectory
    host: str
    port: int
    """0 takes a free one."""
    open_workspaces: tuple[str, ...]
    opa: str | None
    """The URL of an OPA server, or the path of an `opa` program; the embedded engine if absent."""
    database: str | None
    """The URL of a database elsewhere, as its owner; one of our own if absent."""
    verbose: bool


async def up(options: Options) -> None:
    """Brings everything up and keeps it so until SIGTERM or SIGINT. Raises CannotStart."""
    began = time.monotonic()
    options.directory.create()
    with options.directory.locked(), options.directory.run_directory() as run:
        door = Door(host=options.host, port=await _free_port(options.host, options.port))
        installation = Installation(
            options.directory, run=run, door=door, database=options.database, opa=options.opa, tell=_warn
        )
        stop = asyncio.Event()

        def end() -> None:
            if stop.is_set():
                # Whoever asks a second time does not want to wait.
                installation.hurry()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, end)

        def started(part: str) -> None:
            _say(f"  {part:<16} ready after {time.monotonic() - began:.1f} s")

        _say(f"Workflow Runner starts in {options.directory.path}")
        for workspace in options.open_workspaces:
            _warn(
                f"WARNING: workspace {workspace} is OPEN. Everybody who reaches port {door.port} on {door.host} "
                "may deploy and execute in it, without a token."
            )
        starting = asyncio.create_task(installation.start(open_workspaces=options.open_workspaces, started=started))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                await starting
                _say(f"Ready after {time.monotonic() - began:.1f} s at {door.url}/workspaces/{FIRST_WORKSPACE}/")
                # What is redirected lies in a file that others may read, and longer than anybody remembers.
                token = _first_token(options.directory) if sys.stdout.isatty() else None
                _say(first_steps(door, options.directory, token))
                async with installation.looked_after(verbose=options.verbose):
                    await stopping
        except BaseExceptionGroup as group:
            refusals, others = group.split(CannotStart)
            if others is not None or refusals is None:
                raise
            raise _first(refusals) from None
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.wait([starting, stopping])
            _say("Workflow Runner stops.")
            await installation.stop()


def _first_token(directory: DataDirectory) -> str:
    return Issuer(directory.identity).user_token(
        FIRST_WORKSPACE, role="owner", user=current_user(), lifetime=timedelta(hours=TOKEN_HOURS)
    )


def first_steps(door: Door, directory: DataDirectory, token: str | None) -> str:
    """Says what to try next: with a token for whoever sits at the terminal, else with the command that makes one."""
    workspace = f"{door.url}/workspaces/{FIRST_WORKSPACE}"
    curl = 'curl -H "Authorization: Bearer $TOKEN"'
    if token is None:
        place = "" if directory.path == default_directory() else f" --data-dir {shlex.quote(str(directory.path))}"
        which = f"A token for the owner of workspace {FIRST_WORKSPACE}, as whoever may read the data directory:"
        shown = f"$(workflow-runner token --workspace {FIRST_WORKSPACE}{place})"
        browser = f"Or in a browser, where that token signs in:\n\n  {door.url}/signin"
    else:
        which = f"A token for {current_user()}, owner of workspace {FIRST_WORKSPACE}, good for {TOKEN_HOURS} hours:"
        shown = token
        browser = f"Or in a browser, which this signs in:\n\n  {door.url}/signin#{token}"
    return f"""
{which}

  export TOKEN={shown}

Try next:

  {curl} {workspace}/processes
  {curl} -H 'Content-Type: application/json' -d '{{"inputs": {{"message": "hello"}}}}' \\
    {workspace}/processes/echo/execution
  {curl} {workspace}/jobs

{browser}
"""


async def _free_port(host: str, port: int) -> int:
    """Finds out whether the port can be had. A door that was killed a moment ago may still hold it."""
    give_up = time.monotonic() + 2
    while True:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                taken: int = probe.getsockname()[1]
                return taken
        except socket.gaierror as error:
            raise CannotStart(f"{host!r} is no address of this machine.") from error
        except PermissionError as error:
            raise CannotStart(f"This user may not use port {port}: choose one above 1023 with --port.") from error
        except OSError as error:
            if time.monotonic() > give_up:
                raise CannotStart(
                    f"Port {port} on {host} cannot be had ({error.strerror}): choose another one with --port."
                ) from error
        await asyncio.sleep(0.1)


def _first(refusals: BaseExceptionGroup[CannotStart]) -> CannotStart:
    first = refusals.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _say(sentence: str) -> None:
    print(sentence, flush=True)  # noqa: T201 - for the person at the terminal


def _warn(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
