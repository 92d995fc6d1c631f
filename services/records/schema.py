"""The schema of the database: brings it up to date, and tells whether it is."""

import logging
from importlib.resources import as_file, files
from urllib.parse import urlsplit, urlunsplit

from services.shared.errors import Unavailable
from services.shared.postgres import Database

log = logging.getLogger(__name__)


def migrate(dsn: str) -> None:
    """Brings the schema up to date. Needs a login that may create tables and roles. May be repeated; one at a time."""
    # Services never migrate, and need not wait for what only this needs.
    import yoyo

    parts = urlsplit(dsn)
    backend = yoyo.get_backend(urlunsplit(parts._replace(scheme="postgresql+psycopg")))
    try:
        with as_file(files("services.records") / "migrations") as folder:
            migrations = yoyo.read_migrations(str(folder))
        with backend.lock():
            backend.apply_migrations(backend.to_apply(migrations))
    finally:
        backend.connection.close()


def newest_migration() -> str:
    """The name of the last migration that this code knows, such as `0003.jobs`."""
    folder = files("services.records") / "migrations"
    return max(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))


class SchemaCheck:
    """Tells whether the database has the schema that this code was written for, or one that came after it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest = newest_migration()
        self._is_current = False
        self._told = False

    async def is_ready(self) -> bool:
        """Whether the server answers and its schema is not older than this code."""
        try:
            if self._is_current:
                # Nothing takes a migration back.
                return bool(await self._database.fetchval("SELECT true"))
            self._is_current = await self._has_newest()
        except Unavailable:
            return False
        if not self._is_current and not self._told:
            self._told = True
            log.warning(
                "The schema of the database is older than this service, which waits until `workflow-runner migrate` "
                "has run.",
                extra={"migration": self._newest},
            )
        return self._is_current

    async def _has_newest(self) -> bool:
        # Before the first migration there is no such table, and no right to read it.
        may_read = await self._database.fetchval(
            "SELECT has_column_privilege(to_regclass('_yoyo_migration')::oid, 'migration_id', 'SELECT')"
        )
        return bool(may_read) and bool(
            await self._database.fetchval(
                "SELECT EXISTS (SELECT FROM _yoyo_migration WHERE migration_id = $1)", self._newest
            )
        )
