"""The parts of one installation and the order among them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import workflow_runner
from services.standalone.accounts import let_read, number_of
from services.standalone.databases import Database, GivenDatabase, OwnDatabase
from services.standalone.directory import DataDirectory, write_atomically
from services.standalone.envoy import Envoy
from services.standalone.logs import LogFollower
from services.standalone.postgres import SERVICES, PostgresServer
from services.standalone.probes import http_status, until
from services.standalone.refusals import CannotStart
from services.standalone.reserve import Reserve
from services.standalone.service import Service
from services.standalone.settings import Papers, service_settings, socket_of
from services.standalone.supervisor import Program, Supervisor
from services.standalone.tokens import Issuer

POLICY_DATA_ROOT = "workflow_runner_config"
SERVICE_TOKEN_LIFETIME = timedelta(hours=1)
DRAIN = timedelta(seconds=3)
GRACE = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the installation is reached."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """An address of this machine that leads to the door."""
        # What stands for every address is none to go to.
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104

    @property
    def url(self) -> str:
        """What links to the installation begin with, as seen from this machine."""
        return f"http://[{self.address}]:{self.port}" if ":" in self.address else f"http://{self.address}:{self.port}"


class Installation:
    """PostgreSQL, the policy engine, the three services and Envoy over one data directory."""

    def __init__(
        self,
        directory: DataDirectory,
        *,
        run: Path,
        door: Door,
        database: str | None,
        opa: str | None,
        tell: Callable[[str], None],
    ) -> None:
        """`database` is the URL of one elsewhere, `opa` that of a server elsewhere or the path of a program."""
        self._directory = directory
        self._run = run
        self._door = door
        self._opa = opa
        self._tell = tell
        self._issuer = Issuer(directory.identity)
        token = self._issuer.user_token("probe", role="viewer", user="workflow-runner", lifetime=timedelta(hours=1))
        self._papers = (
            Papers(run / "jwks.json", run / "policy.json", run / "ingestion.jwt")
            if os.geteuid() == 0
            else Papers(self._issuer.jwks, directory.policy_data, self._issuer.ingestion_token)
        )
        self._closed: list[Path] = []
        self._probing = {"authorization": f"Bearer {token}"}
        self._supervisor = Supervisor(directory.logs, tell=tell)
        self._database: Database = (
            OwnDatabase(PostgresServer(directory.postgres, run / "postgres"))
            if database is None
            else GivenDatabase(database, passwords=directory.path / "database.json")
        )
        self._envoy = Envoy(
            render=self._edge,
            config=directory.envoy_config,
            admin_socket=run / "envoy-admin.sock",
            access_log=directory.logs / "access.log",
            descriptor=_descriptor(),
            low_port=door.port < 1024,
        )

    async def start(self, *, open_workspaces: tuple[str, ...], started: Callable[[str], None]) -> None:
        """Starts the parts side by side; they wait for each other where they must.

        Returns when requests are answered; `started` hears of each part on the way. Raises an exception group of
        CannotStart.
        """
        anonymous = dict.fromkeys(open_workspaces, "developer")
        write_atomically(self._directory.policy_data, json.dumps({POLICY_DATA_ROOT: {"anonymous": anonymous}}))
        await asyncio.to_thread(self._hand_out)

        async def start(program: Program) -> None:
            await self._supervisor.start(program)
            started(program.name)

        async def start_database() -> None:
            if self._database.server is not None:
                await start(self._database.server)
            await asyncio.to_thread(self._database.bring_up_to_date)
            started("database schema")

        async with asyncio.TaskGroup() as tasks:
            for program in (*self._policy_program(), self._envoy):
                tasks.create_task(start(program))
            # Making a cluster takes one processor; services load while it starts, and find the schema when they look.
            await asyncio.to_thread(self._database.prepare)
            tasks.create_task(start_database())
            for service in self._services():
                tasks.create_task(start(service))
        await until(self._is_open)

    @asynccontextmanager
    async def looked_after(self, *, verbose: bool) -> AsyncIterator[None]:
        """Renews what expires and shows what the parts complain of, for the time of the context."""
        follower = LogFollower(self._directory.logs, tell=self._tell, everything=verbose)
        tasks = [asyncio.create_task(self._renew_ingestion_token()), asyncio.create_task(follower.run())]
        if self._database.server is not None:
            reserve = Reserve(self._directory.reserve, tell=self._tell)
            tasks.append(asyncio.create_task(reserve.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Stops what runs: first the door, then the services, then what they stand on."""
        if self._envoy.name in self._supervisor.process_ids():
            await self._envoy.drain(DRAIN)
        await self._supervisor.stop(self._envoy.name, grace=GRACE)
        await asyncio.gather(*(self._supervisor.stop(service, grace=GRACE) for service in SERVICES))
        await self._supervisor.stop("opa", grace=GRACE)
        await self._supervisor.stop("postgres", grace=3 * GRACE)

    def hurry(self) -> None:
        """Ends at once what is still stopping."""
        for name, process in self._supervisor.process_ids().items():
            # Killed, PostgreSQL could leave shared memory behind; asked like this it is as quick.
            os.kill(process, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)

    def _services(self) -> list[Service]:
        addresses = self._database.addresses()
        keeps_root = self._keeps_root()
        if keeps_root is not None:
            self._tell(f"WARNING: status and ingestion go on as root, since {keeps_root}.")
        return [
            Service(
                name=name,
                socket=socket_of(self._run, name),
                settings=service_settings(
                    name,
                    directory=self._directory,
                    run=self._run,
                    papers=self._papers,
                    database=addresses[name],
                    policy=self._policy(),
                    grace=GRACE - timedelta(seconds=2),
                ),
                shown=[*self._shown(name), *self._database.shown()],
                keeps_root=keeps_root,
            )
            for name in SERVICES
        ]

    def _keeps_root(self) -> str | None:
        if os.geteuid() != 0:
            return None
        if self._directory.path.is_relative_to(sys.prefix):
            # Whoever is shown Python is shown the data directory then, which is closed.
            return f"the data directory lies in {sys.prefix}"
        if self._closed:
            return f"{self._closed[0]} cannot be given to a group"
        return self._database.keeps_root()

    def _shown(self, service: str) -> list[Path]:
        return {"status": [self._directory.artifacts], "ingestion": [self._directory.harvest]}.get(service, [])

    def _policy(self) -> Mapping[str, str]:
        if self._opa is None:
            return {"POLICY__KIND": "embedded", "POLICY__DATA": str(self._papers.policy_data)}
        if "://" in self._opa:
            return {"POLICY__KIND": "opa", "POLICY__URL": self._opa}
        return {"POLICY__KIND": "opa", "POLICY__SOCKET": str(self._run / "opa.sock")}

    def _policy_program(self) -> list[Program]:
        if self._opa is None or "://" in self._opa:
            return []
        from services.standalone.opa import Opa

        return [
            Opa(
                program=Path(self._opa),
                socket=self._run / "opa.sock",
                bundle=self._run / "opa",
                overlay=self._directory.policy_data,
            )
        ]

    def _edge(self) -> str:
        # Rendered in a thread, while everything else is starting already.
        from services.edge import render

        return render(
            host=self._door.host,
            port=self._door.port,
            submission=socket_of(self._run, "submission"),
            status=socket_of(self._run, "status"),
            ingestion=socket_of(self._run, "ingestion"),
            descriptor=self._envoy.descriptor,
            admin=self._envoy.admin_socket,
            access_log=self._envoy.access_log,
        )

    async def _is_open(self) -> bool:
        door = (self._door.address, self._door.port)
        if await http_status(door, "/readyz") != 200:
            return False
        # The first thing people try is the built-in process, which submission installs once it finds the schema.
        # Whatever else is answered, such as that the policy engine is away, can be asked of an installation that is up.
        found = await http_status(door, "/workspaces/probe/processes/echo", headers=self._probing)
        return found not in {None, 404}

    async def _renew_ingestion_token(self) -> None:
        while True:
            await asyncio.sleep(SERVICE_TOKEN_LIFETIME.total_seconds() / 3)
            self._write_ingestion_token()

    def _write_ingestion_token(self) -> None:
        copy = self._papers.token if os.geteuid() == 0 else None
        self._issuer.write_ingestion_token(SERVICE_TOKEN_LIFETIME, copy=copy)

    def _hand_out(self) -> None:
        """Puts what the services read where they may read it."""
        self._write_ingestion_token()
        if os.geteuid() != 0:
            return
        group = number_of("programs")
        for source, place in (
            (self._issuer.jwks, self._papers.jwks),
            (self._directory.policy_data, self._papers.policy_data),
        ):
            write_atomically(place, source.read_bytes(), 0o640, group=group)
        for directory, readers, again in (
            (self._directory.artifacts, "readers of artifacts", False),
            (self._directory.harvest, "readers of packages", True),
        ):
            if not let_read(directory, readers, again=again):
                self._closed.append(directory)


def _descriptor() -> Path:
    """Finds the contract as Envoy reads it, beside the generated code or, in an installed package, inside it."""
    generated = Path(str(workflow_runner.__file__)).parent
    places = (generated / "workflow_runner.binpb", generated.parent / "workflow_runner.binpb")
    for place in places:
        if place.exists():
            return place
    raise CannotStart(f"The contract for Envoy is missing: there is no {places[0]}.")
