"""The way to PostgreSQL: a pool whose failures are refusals.

Statements stand in the stores; nothing else imports the driver.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self, TypeAlias

import asyncpg
import orjson

from services.shared.errors import InvalidArgument, Unavailable
from services.shared.space import storage_full
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_DATABASE_BUSY,
    ERROR_REASON_DATABASE_UNAVAILABLE,
    ERROR_REASON_INVALID_REQUEST,
    ERROR_REASON_OUTCOME_UNKNOWN,
)

Connection: TypeAlias = Any
"""A connection that the pool lends; it has the methods of asyncpg's Connection."""
Record: TypeAlias = Mapping[str, Any]
"""A row."""
UniqueViolation = asyncpg.UniqueViolationError

RETRY_IN = timedelta(seconds=2)

# What tells that the server is away, not that a statement is wrong.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.ConnectionFailureError,
    asyncpg.InvalidPasswordError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    # What a connection says that breaks while it rolls back.
    asyncpg.InternalClientError,
)


class Database:
    """A pool of connections. Opens without the server being there, and comes back by itself when it does."""

    def __init__(self, pool: asyncpg.Pool, *, acquire_timeout: timedelta) -> None:
        self._pool = pool
        self._acquire_timeout = acquire_timeout.total_seconds()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        dsn: str,
        *,
        application: str,
        connections: int = 10,
        acquire_timeout: timedelta = timedelta(seconds=1),
        statement_timeout: timedelta = timedelta(seconds=10),
    ) -> AsyncIterator[Self]:
        """Opens the pool for the time of the context; connects when first used."""
        pool = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=connections,
            timeout=acquire_timeout.total_seconds(),
            command_timeout=statement_timeout.total_seconds() + 1,
            max_inactive_connection_lifetime=60,
            server_settings={
                "application_name": application,
                "statement_timeout": str(int(statement_timeout.total_seconds() * 1000)),
                # A transaction that somebody forgot holds up every watcher (job_events is read below the oldest one).
                "idle_in_transaction_session_timeout": "10000",
                "timezone": "UTC",
            },
            init=_use_json,
            # Nothing here sets the state of a session, so there is nothing to reset, which would cost a round trip on
            # every release.
            reset=_leave,
        )
        async with pool:
            yield cls(pool, acquire_timeout=acquire_timeout)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lends a connection.

        Raises DATABASE_UNAVAILABLE when the server is away, at the start or in the middle, DATABASE_BUSY when all
        connections are lent or a statement takes longer than one may, STORAGE_FULL when the server has no room, and
        INVALID_REQUEST for a text with NUL, which a text column cannot keep.
        """
        try:
            connection = await self._acquire()
            try:
                yield connection
            finally:
                await self._pool.release(connection)
        except asyncpg.DiskFullError as error:
            raise storage_full("The disk of the database is full. The operator can make room.") from error
        except asyncpg.QueryCanceledError as error:
            raise Unavailable(
                ERROR_REASON_DATABASE_BUSY,
                "The database did not answer in time; nothing was changed. Try again.",
                retry_in=RETRY_IN,
            ) from error
        except AWAY as error:
            raise _unavailable() from error
        except asyncpg.CharacterNotInRepertoireError as error:
            raise InvalidArgument(
                ERROR_REASON_INVALID_REQUEST, "A text of the request has a NUL character, which no text here may have."
            ) from error
        except asyncpg.InterfaceError as error:
            if "closed" in str(error) or "released" in str(error) or "closing" in str(error):
                raise _unavailable() from error
            raise

    async def _acquire(self) -> Connection:
        try:
            return await self._pool.acquire(timeout=self._acquire_timeout)
        except TimeoutError as error:
            if self._pool.get_size() < self._pool.get_max_size():
                raise
            raise Unavailable(
                ERROR_REASON_DATABASE_BUSY,
                "No connection to the database was free in time; nothing was changed. Try again.",
                retry_in=RETRY_IN,
            ) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lends a connection with a transaction on it, which is committed in the end, or rolled back by an error.

        Raises what `connection` raises, and OUTCOME_UNKNOWN when the connection breaks during the commit.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await transaction.rollback()
                raise
            if connection.is_closed():
                # Lost before the commit was sent, so that the server has rolled back.
                raise _unavailable()
            try:
                await transaction.commit()
            except (*AWAY, asyncpg.QueryCanceledError, asyncpg.InterfaceError) as error:
                raise _outcome_unknown() from error

    async def fetch(self, statement: str, *arguments: object) -> list[Record]:
        """Runs one statement, answers its rows."""
        async with self.connection() as connection:
            return await connection.fetch(statement, *arguments)  # type: ignore[no-any-return]

    async def fetchrow(self, statement: str, *arguments: object) -> Record | None:
        """Runs one statement, answers its first row."""
        async with self.connection() as connection:
            row: Record | None = await connection.fetchrow(statement, *arguments)
            return row

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """Runs one statement, answers the first value of its first row."""
        async with self.connection() as connection:
            return await connection.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: object) -> str:
        """Runs one statement, answers its command tag."""
        async with self.connection() as connection:
            return await connection.execute(statement, *arguments)  # type: ignore[no-any-return]


async def _leave(connection: asyncpg.Connection) -> None:
    """Leaves a connection as it is."""


async def _use_json(connection: asyncpg.Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_dump, decoder=orjson.loads, format="text")


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()


def _outcome_unknown() -> Unavailable:
    return Unavailable(
        ERROR_REASON_OUTCOME_UNKNOWN,
        "The connection to the database broke during the commit, so the change may have been made or not. Look before "
        "you send the request again. If it had an Idempotency-Key, send it again with the same one.",
    )


def _unavailable() -> Unavailable:
    return Unavailable(
        ERROR_REASON_DATABASE_UNAVAILABLE,
        "The database cannot be reached; nothing was changed. Try again.",
        retry_in=RETRY_IN,
    )
