"""The database of an installation: one of its own, or one that the operator has elsewhere."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from services.standalone.directory import write_atomically
from services.standalone.postgres import SERVICES, PostgresServer
from services.standalone.refusals import CannotStart

NAME = "workflow_runner"


class Database(Protocol):
    """Where the services keep what they know. All of it blocks."""

    @property
    def server(self) -> PostgresServer | None:
        """The server to supervise; none where somebody else does."""

    def prepare(self) -> None:
        """Does what must be done before a server can start; addresses() has answers from then on."""

    def bring_up_to_date(self) -> None:
        """Brings schema and logins up to date, on a server that runs. May be repeated. Raises CannotStart."""

    def addresses(self) -> Mapping[str, str]:
        """The address of the database for each service, with a login of its own."""

    def shown(self) -> Sequence[Path]:
        """What a service that gave up root must reach to use it."""

    def keeps_root(self) -> str | None:
        """Why services must be root to use it."""


class OwnDatabase:
    """A database on a server of this installation."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @property
    def server(self) -> PostgresServer:
        """The server to supervise."""
        return self._server

    def prepare(self) -> None:
        """Makes the cluster if there is none."""
        self._server.prepare()

    def bring_up_to_date(self) -> None:
        """Brings schema and logins up to date."""
        # Its libraries load while everything else is starting already.
        from services.records.schema import migrate

        self._server.create_owner()
        self._server.create_database(NAME)
        self._server.release_migrations(NAME)
        migrate(self._server.database(NAME).owner)
        self._server.create_logins()

    def addresses(self) -> Mapping[str, str]:
        """The address of the database for each service."""
        database = self._server.database(NAME)
        return {service: getattr(database, service) for service in SERVICES}

    def shown(self) -> Sequence[Path]:
        """The directory of the socket for those that may not enter the cluster."""
        return [self._server.sockets]

    def keeps_root(self) -> None:
        """Nothing: it has a socket for them."""


class GivenDatabase:
    """A database on a server elsewhere, by the address of its owner, who may create tables and roles.

    The logins it makes for the services carry the database's name, since roles are one to a server; their passwords are
    kept in a file of this installation.
    """

    def __init__(self, url: str, *, passwords: Path) -> None:
        self._url = url
        self._file = passwords

    @property
    def server(self) -> None:
        """None: somebody else looks after it."""
        return None

    def prepare(self) -> None:
        """Makes the passwords, the first time."""
        if not self._file.exists():
            write_atomically(self._file, json.dumps({service: secrets.token_hex(24) for service in SERVICES}))

    def bring_up_to_date(self) -> None:
        """Brings schema and logins up to date."""
        migrate_given(self._url)
        with _refusals(self._url), psycopg.connect(self._url, autocommit=True) as connection:
            for service, password in self._passwords().items():
                login = sql.Identifier(self._login(service))
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (self._login(service),))
                verb = sql.SQL("ALTER" if known.fetchone() else "CREATE")
                connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, login, sql.Literal(password)))
                group = sql.Identifier(f"workflow_runner_{service}")
                connection.execute(sql.SQL("GRANT {} TO {}").format(group, login))

    def addresses(self) -> Mapping[str, str]:
        """The address of the database for each service."""
        parts = urlsplit(self._url)
        place = parts.netloc.rpartition("@")[2]
        return {
            service: urlunsplit(parts._replace(netloc=f"{quote(self._login(service))}:{password}@{place}"))
            for service, password in self._passwords().items()
        }

    def shown(self) -> Sequence[Path]:
        """Nothing: it is reached over the network, or by a socket that others may use."""
        return []

    def keeps_root(self) -> str | None:
        """Names what the client would read that may be root's alone: certificates, keys."""
        if (Path.home() / ".postgresql").exists():
            return f"the database's client reads {Path.home() / '.postgresql'}"
        named = {"sslmode", "sslkey", "sslcert", "sslrootcert", "sslcrl", "host"} & set(
            parse_qs(urlsplit(self._url).query)
        )
        return f"the address of the database sets {', '.join(sorted(named))}" if named else None

    def _login(self, service: str) -> str:
        return f"workflow_runner_{service}_at_{urlsplit(self._url).path.lstrip('/')}"

    def _passwords(self) -> dict[str, str]:
        passwords: dict[str, str] = json.loads(self._file.read_text())
        return passwords


def parse_url(text: str | None) -> str:
    """Reads the address of a database elsewhere. Raises CannotStart."""
    parts = urlsplit(text or "")
    if parts.scheme not in {"postgresql", "postgres"} or not parts.username or not parts.path.lstrip("/"):
        raise CannotStart("The address of a database is written postgresql://owner:password@host/name.")
    return text or ""


def show_url(url: str) -> str:
    """Names a database without what is secret in its address."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'this machine'}{parts.path}"


def migrate_given(url: str) -> None:
    """Brings the schema of a database elsewhere up to date. Raises CannotStart."""
    # Its libraries load while everything else is starting already.
    from services.records.schema import migrate

    with _refusals(url):
        with psycopg.connect(url, autocommit=True, connect_timeout=10):
            # A wrong address shall be told at once, not after the patience of the tool.
            pass
        migrate(url)


@contextmanager
def _refusals(url: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1]
        raise CannotStart(f"The database {show_url(url)} cannot be used: {reason}") from error
