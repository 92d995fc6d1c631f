"""The one installation that tests share, each in a workspace of its own."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from services.standalone.databases import NAME
from services.standalone.directory import DataDirectory
from services.standalone.postgres import PostgresServer
from services.standalone.tokens import Issuer, Role
from tests.support.doors import Workspace, eventually
from tests.system.running import Running

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Traces:
    """What a request can leave behind."""

    rows: frozenset[tuple[str, str]]
    """Table and key of every row about a workspace, but for its ingestions."""
    listed: frozenset[str]
    """Processes and jobs that the workspace's owner sees over REST."""
    objects: frozenset[str]
    """Every object of the artifact store."""
    runs: frozenset[str]
    """Every run directory of the backend."""
    children: frozenset[int]
    """Every process that submission or one of its runs has started."""

    def __sub__(self, other: "Traces") -> dict[str, set[Any]]:
        """What is here and was not there."""
        found = {name: set(getattr(self, name) - getattr(other, name)) for name in self.__dataclass_fields__}
        return {name: more for name, more in found.items() if more}


class Suite:
    """An installation, and the look behind it."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.directory = DataDirectory(running.directory)
        self.issuer = Issuer(self.directory.identity)

    def token(self, workspace: str, *, role: Role = "owner", lifetime: timedelta = timedelta(hours=1)) -> str:
        return self.issuer.user_token(workspace, role=role, user=f"somebody-of-{workspace}", lifetime=lifetime)

    def workspace(self) -> Workspace:
        """A workspace that nobody has used, seen by its owner."""
        name = f"ws-{next(_numbers)}"
        return Workspace(self.running.port, name, self.token(name))

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Asks the database as the owner of the schema."""
        server = PostgresServer(self.directory.postgres, self.directory.path / "run" / "postgres")
        with psycopg.connect(server.database(NAME).owner, autocommit=True) as connection:
            return connection.execute(statement.encode(), arguments).fetchall()

    def rows(self, workspace: str) -> frozenset[tuple[str, str]]:
        """Everything that the database holds of the processes and jobs of a workspace."""
        found = self.sql(
            """
            SELECT 'processes', process_id FROM processes WHERE workspace = %s
            UNION ALL SELECT 'process_revisions', revision_id::text FROM process_revisions WHERE workspace = %s
            UNION ALL SELECT 'jobs', job_id::text FROM jobs WHERE workspace = %s
            """,
            *[workspace] * 3,
        )
        return frozenset((table, key) for table, key in found)

    def objects(self) -> frozenset[str]:
        root = self.directory.artifacts
        return frozenset(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def runs(self) -> frozenset[str]:
        # What begins with a dot is of the directory itself, such as its id.
        return frozenset(name for name in os.listdir(self.directory.runs) if not name.startswith("."))

    def children(self) -> frozenset[int]:
        """Processes below submission, and those of runs, which are nobody's children."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(") ")[2].split()[1])
                except OSError:
                    continue
        command = self.running.process.pid
        family = {
            process
            for process, parent in parents.items()
            if (parent == command and "services.submission" in _seen(process))
            or (parent == 1 and str(self.directory.runs) in _seen(process))
        }
        while more := {child for child, parent in parents.items() if parent in family} - family:
            family |= more
        return frozenset(family)

    def traces(self, workspace: Workspace) -> Traces:
        """Everything that is there now."""
        owner = Workspace(workspace.port, workspace.name, self.token(workspace.name))
        listed = [entry["id"] for kind in ("processes", "jobs") for entry in owner.ask(f"/{kind}?limit=100").json[kind]]
        return Traces(self.rows(workspace.name), frozenset(listed), self.objects(), self.runs(), self.children())

    @contextmanager
    def leaves_nothing(self, workspace: Workspace) -> Iterator[None]:
        """Shows that what happens inside leaves nothing behind. Children get a moment to end."""
        before = self.traces(workspace)
        yield
        self.nothing_more(workspace, before)

    def leaves_only_jobs(self, workspace: Workspace, before: Traces) -> None:
        """Shows that jobs which have ended left their records, and neither run nor process."""
        self.nothing_more(workspace, before, but=("rows", "listed", "objects"))

    def nothing_more(self, workspace: Workspace, before: Traces, *, but: tuple[str, ...] = ()) -> None:
        """Shows that there is nothing, in the end, which was not there before."""
        more: dict[str, set[Any]] = {}

        def nothing() -> bool:
            more.clear()
            found = self.traces(workspace) - before
            more.update({name: found[name] for name in found.keys() - set(but)})
            return not more

        try:
            eventually(nothing, within=10)
        except AssertionError:
            raise AssertionError(f"left behind: {more}") from None

    def submission(self) -> int:
        """The process of submission that runs now."""
        return self.running.processes()["services.submission"][0]

    def database_server(self) -> int:
        """The first process of PostgreSQL."""
        return int((self.directory.postgres / "data" / "postmaster.pid").read_text().splitlines()[0])

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Takes the database away: its server takes no connection, and those that were there are closed."""
        server = self.database_server()
        os.kill(server, signal.SIGSTOP)
        try:
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    try:
                        parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(") ")[2].split()[1])
                        line = Path(f"/proc/{entry}/cmdline").read_bytes()
                        if parent == server and b"[local]" in line:
                            os.kill(int(entry), signal.SIGTERM)
                    except OSError:
                        continue
            yield
        finally:
            os.kill(server, signal.SIGCONT)


def _seen(process: int) -> str:
    """The command line of a process and where it works; nothing if it has ended."""
    try:
        line = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
        return line + os.readlink(f"/proc/{process}/cwd")
    except OSError:
        return ""
