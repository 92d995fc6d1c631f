"""`workflow-runner up`: everything on one machine, started side by side, kept running, stopped in order."""

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import workflow_runner
from services.shared.policy.files import DATA_ROOT
from services.shared.postgres import migrate
from services.standalone.directory import DataDirectory, write_atomically
from services.standalone.edge import render
from services.standalone.envoy import Envoy
from services.standalone.logs import LogFollower
from services.standalone.opa import Opa
from services.standalone.postgres import DatabaseAddresses, PostgresServer
from services.standalone.probes import http_status, until
from services.standalone.refusals import CannotStart
from services.standalone.service import Service
from services.standalone.supervisor import Program, Supervisor
from services.standalone.tokens import AUDIENCE, ISSUER, Issuer, current_user

DATABASE = "workflow_runner"
FIRST_WORKSPACE = "demo"
TOKEN_LIFETIME = timedelta(hours=8)
SERVICE_TOKEN_LIFETIME = timedelta(hours=1)
DRAIN = timedelta(seconds=3)
GRACE = timedelta(seconds=10)


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
    verbose: bool


async def up(options: Options) -> None:
    """Brings everything up and keeps it so until SIGTERM or SIGINT. Raises CannotStart."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options.directory.create()
    with options.directory.locked(), options.directory.run_directory() as run:
        port = await _free_port(options.host, options.port)
        installation = _Installation(options, run, port)
        try:
            async with asyncio.TaskGroup() as tasks:
                stopping = asyncio.create_task(stop.wait())
                starting = tasks.create_task(installation.start())
                await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
                if starting.done() and not starting.cancelled() and starting.exception() is None:
                    async with installation.looked_after():
                        await stopping
                starting.cancel()
                stopping.cancel()
        except* CannotStart as group:
            raise _first(group) from group
        finally:
            await installation.stop()


class _Installation:
    """The parts of one installation and the order among them."""

    def __init__(self, options: Options, run: Path, port: int) -> None:
        self._options = options
        self._directory = options.directory
        self._run = run
        self._port = port
        self._issuer = Issuer(options.directory.identity)
        self._supervisor = Supervisor(options.directory.logs, tell=_warn)
        self._postgres = PostgresServer(options.directory.postgres, run / "postgres")
        self._envoy = Envoy(
            render=self._edge, config=options.directory.envoy_config, admin_socket=run / "envoy-admin.sock"
        )
        self._began = time.monotonic()

    @property
    def url(self) -> str:
        """The address of the door, as seen from this machine."""
        # What stands for every address is no address to go to.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._options.host, self._options.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def start(self) -> None:
        """Starts the parts side by side; they wait for each other where they must. Returns when the door is open."""
        _say(f"Workflow Runner starts in {self._directory.path}")
        self._issuer.write_ingestion_token(SERVICE_TOKEN_LIFETIME)
        anonymous = dict.fromkeys(self._options.open_workspaces, "developer")
        write_atomically(self._directory.policy_data, json.dumps({DATA_ROOT: {"anonymous": anonymous}}, indent=2))
        for workspace in self._options.open_workspaces:
            _warn(
                f"Workspace {workspace} is OPEN: everybody who reaches port {self._port} may deploy and execute in it."
            )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._start_database())
            for service in self._services():
                tasks.create_task(self._start(service))
            tasks.create_task(self._start(self._envoy))
            if self._opa_program is not None:
                tasks.create_task(self._start(self._opa_program))
        await until(self._is_open)
        self._say_ready()

    @asynccontextmanager
    async def looked_after(self) -> AsyncIterator[None]:
        """Renews what expires and shows what the parts complain of, for the time of the context."""
        follower = LogFollower(self._directory.logs, tell=_warn, everything=self._options.verbose)
        tasks = [asyncio.create_task(self._renew_ingestion_token()), asyncio.create_task(follower.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Stops what runs: first the door, then the services, then what they stand on."""
        running = self._supervisor.process_ids()
        if running:
            _say("Workflow Runner stops.")
        if self._envoy.name in running:
            await self._envoy.drain(DRAIN)
            await self._supervisor.stop(self._envoy.name, grace=GRACE)
        services = [service.name for service in self._services()]
        await asyncio.gather(*(self._supervisor.stop(name, grace=GRACE) for name in services))
        await self._supervisor.stop("opa", grace=GRACE)
        await self._supervisor.stop(self._postgres.name, grace=3 * GRACE)

    async def _start(self, program: Program) -> None:
        await self._supervisor.start(program)
        self._say_started(program.name)

    async def _start_database(self) -> None:
        await self._start(self._postgres)
        await asyncio.to_thread(self._migrate)
        self._say_started("database schema")

    def _migrate(self) -> None:
        self._postgres.create_owner()
        self._postgres.create_database(DATABASE)
        migrate(self._postgres.database(DATABASE).owner)
        self._postgres.create_logins()

    def _services(self) -> list[Service]:
        database = self._postgres.database(DATABASE)
        return [
            Service(name=name, socket=self._run / f"{name}.sock", settings=self._settings(name, database))
            for name in ("submission", "status", "ingestion")
        ]

    def _settings(self, name: str, database: DatabaseAddresses) -> Mapping[str, str]:
        own: Mapping[str, str] = {
            "submission": {"BACKEND__KIND": "cwltool", "BACKEND__RUNS_DIR": str(self._directory.runs)},
            "status": {},
            "ingestion": {
                "SUBMISSION_ADDRESS": f"unix:{self._run / 'submission.sock'}",
                "TOKEN_FILE": str(self._issuer.ingestion_token),
                "PACKAGES__URL": self._directory.harvest.as_uri(),
            },
        }[name]
        every = {
            "LISTEN": f"unix:{self._run / f'{name}.sock'}",
            "DATABASE": getattr(database, name),
            "IDENTITY__ISSUER": ISSUER,
            "IDENTITY__AUDIENCE": json.dumps([AUDIENCE]),
            "IDENTITY__JWKS": str(self._issuer.jwks),
            "ARTIFACTS__URL": self._directory.artifacts.as_uri(),
            "REFLECTION": "true",
            # The door is closed before the services are told to end, so there is nobody left who must notice.
            "DRAIN": "PT0S",
            "GRACE": f"PT{GRACE.total_seconds() - 2:g}S",
        }
        return {f"{name.upper()}_{key}": value for key, value in {**every, **self._policy_settings(), **own}.items()}

    def _policy_settings(self) -> Mapping[str, str]:
        if self._options.opa is None:
            return {"POLICY__KIND": "embedded", "POLICY__DATA": str(self._directory.policy_data)}
        if self._opa_program is None:
            return {"POLICY__KIND": "opa", "POLICY__URL": self._options.opa}
        return {"POLICY__KIND": "opa", "POLICY__SOCKET": str(self._opa_program.socket)}

    @property
    def _opa_program(self) -> Opa | None:
        if self._options.opa is None or "://" in self._options.opa:
            return None
        return Opa(
            program=Path(self._options.opa),
            socket=self._run / "opa.sock",
            bundle=self._run / "opa",
            overlay=self._directory.policy_data,
        )

    def _edge(self) -> str:
        sockets = {service.name: service.socket for service in self._services()}
        return render(
            host=self._options.host,
            port=self._port,
            submission=sockets["submission"],
            status=sockets["status"],
            ingestion=sockets["ingestion"],
            descriptor=_descriptor(),
            admin=self._envoy.admin_socket,
            access_log=self._directory.logs / "access.log",
        )

    async def _is_open(self) -> bool:
        host = self.url.removeprefix("http://").rpartition(":")[0].strip("[]")
        return await http_status((host, self._port), "/readyz") == 200

    async def _renew_ingestion_token(self) -> None:
        while True:
            await asyncio.sleep(SERVICE_TOKEN_LIFETIME.total_seconds() / 3)
            self._issuer.write_ingestion_token(SERVICE_TOKEN_LIFETIME)

    def _say_started(self, part: str) -> None:
        _say(f"  {part:<16} ready after {time.monotonic() - self._began:.1f} s")

    def _say_ready(self) -> None:
        user = current_user()
        token = self._issuer.user_token(FIRST_WORKSPACE, role="owner", user=user, lifetime=TOKEN_LIFETIME)
        workspace = f"{self.url}/workspaces/{FIRST_WORKSPACE}"
        authorized = 'curl -H "Authorization: Bearer $TOKEN"'
        _say(
            f"""Ready after {time.monotonic() - self._began:.1f} s at {workspace}/

A token for {user}, owner of workspace {FIRST_WORKSPACE}, good for 8 hours:

  export TOKEN={token}

Try next:

  {authorized} {workspace}/processes
  {authorized} -H 'Content-Type: application/json' \\
    -d '{{"inputs": {{"text": "hello"}}}}' {workspace}/processes/echo/execution
  {authorized} {workspace}/jobs
"""
        )


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


def _first(group: BaseExceptionGroup[CannotStart]) -> CannotStart:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _descriptor() -> Path:
    """Finds the contract as Envoy reads it, beside the generated code or, in an installed package, inside it."""
    generated = Path(str(workflow_runner.__file__)).parent
    places = (generated / "workflow_runner.binpb", generated.parent / "workflow_runner.binpb")
    for place in places:
        if place.exists():
            return place
    raise CannotStart(f"The contract for Envoy is missing: there is no {places[0]}.")


def _say(sentence: str) -> None:
    print(sentence, flush=True)  # noqa: T201 - for the person at the terminal


def _warn(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
