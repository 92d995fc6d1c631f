"""Writes processes: what is deployed, and every revision that ever was."""

from dataclasses import dataclass
from typing import Any

from uuid_utils.compat import uuid7

from services.access.authorization import immutable
from services.records.processes import EVERYWHERE, Process, ProcessReader
from services.shared.errors import AlreadyExists, PermissionDenied
from services.shared.names import ProcessName, no_such
from services.shared.postgres import Connection, Database, Record, UniqueViolation
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_DUPLICATED_PROCESS


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """What a revision is made of."""

    digest: str
    media_type: str
    workflow_id: str
    description: dict[str, Any]
    cwl_inputs: dict[str, Any]
    backend: str = ""


class ProcessStore:
    """Deploys, replaces, undeploys and shares processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = ProcessReader(database)

    async def get(self, name: ProcessName) -> Process:
        """Raises NO_SUCH_PROCESS."""
        return await self._reader.get(name)

    async def deploy(self, name: ProcessName, deployable: Deployable, *, owner: str) -> Process:
        """Makes a process. Raises DUPLICATED_PROCESS, IMMUTABLE_PROCESS."""
        try:
            async with self._database.transaction() as connection:
                existing = await _find(connection, name, lock=True)
                if existing is not None:
                    raise _in_the_way(name, existing)
                revision_id = await _add_revision(connection, name, deployable, owner)
                await connection.execute(
                    """
                    INSERT INTO processes (workspace, process_id, revision_id, owner) VALUES ($1, $2, $3, $4)
                    """,
                    name.workspace,
                    name.process_id,
                    revision_id,
                    owner,
                )
        except UniqueViolation as error:
            # Two deployments of one id at the same time: the other one came first.
            raise _duplicated(name) from error
        return await self._reader.get(name)

    async def check_deployable(self, name: ProcessName) -> None:
        """Raises what `deploy` would raise now, so that nothing is stored for a deployment that will be refused."""
        async with self._database.connection() as connection:
            existing = await _find(connection, name)
        if existing is not None:
            raise _in_the_way(name, existing)

    async def check_mutable(self, name: ProcessName) -> None:
        """Raises what `replace` would raise now: NO_SUCH_PROCESS, IMMUTABLE_PROCESS."""
        async with self._database.connection() as connection:
            existing = await _find(connection, name)
        _require_mutable(name, existing)

    async def replace(self, name: ProcessName, deployable: Deployable, *, owner: str) -> Process:
        """Makes the next revision of a process; one that is deployed already stays as it is, so that a replacement may
        be repeated. Raises NO_SUCH_PROCESS, IMMUTABLE_PROCESS."""
        async with self._database.transaction() as connection:
            await _lock_mutable(connection, name)
            same = await connection.fetchval(
                """
                SELECT digest = $3 AND description::jsonb = $4::json::jsonb
                FROM processes JOIN process_revisions USING (revision_id)
                WHERE processes.workspace = $1 AND processes.process_id = $2
                """,
                name.workspace,
                name.process_id,
                deployable.digest,
                deployable.description,
            )
            if not same:
                revision_id = await _add_revision(connection, name, deployable, owner)
                await connection.execute(
                    """
                    UPDATE processes SET revision_id = $3, update_time = now() WHERE workspace = $1 AND process_id = $2
                    """,
                    name.workspace,
                    name.process_id,
                    revision_id,
                )
        return await self._reader.get(name)

    async def undeploy(self, name: ProcessName) -> None:
        """Removes a process; its revisions stay. Raises NO_SUCH_PROCESS, IMMUTABLE_PROCESS."""
        async with self._database.transaction() as connection:
            await _lock_mutable(connection, name)
            await connection.execute(
                "DELETE FROM processes WHERE workspace = $1 AND process_id = $2", name.workspace, name.process_id
            )

    async def share(self, name: ProcessName, *, visibility: str, workspaces: list[str], groups: list[str]) -> Process:
        """Says who beside the workspace may use a process. Raises NO_SUCH_PROCESS, IMMUTABLE_PROCESS."""
        async with self._database.transaction() as connection:
            await _lock_mutable(connection, name)
            await connection.execute(
                """
                UPDATE processes
                SET visibility = $3, shared_workspaces = $4, shared_groups = $5, update_time = now()
                WHERE workspace = $1 AND process_id = $2
                """,
                name.workspace,
                name.process_id,
                visibility,
                workspaces,
                groups,
            )
        return await self._reader.get(name)

    async def install(self, process_id: str, deployable: Deployable) -> None:
        """Puts a built-in process into every workspace, for its members, in its newest form. May be repeated."""
        async with self._database.transaction() as connection:
            # Several replicas start at once; one installs, the others find it installed.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('install'), hashtext($1))", process_id)
            name = ProcessName(EVERYWHERE, process_id)
            installed = await connection.fetchval(
                """
                SELECT digest FROM processes JOIN process_revisions USING (revision_id)
                WHERE processes.workspace = $1 AND processes.process_id = $2
                """,
                EVERYWHERE,
                process_id,
            )
            if installed == deployable.digest:
                return
            revision_id = await _add_revision(connection, name, deployable, EVERYWHERE)
            await connection.execute(
                """
                INSERT INTO processes (workspace, process_id, revision_id, owner, mutable, visibility)
                VALUES ($1, $2, $3, $1, false, 'private')
                ON CONFLICT (workspace, process_id) DO UPDATE
                SET revision_id = excluded.revision_id, visibility = excluded.visibility, update_time = now()
                """,
                EVERYWHERE,
                process_id,
                revision_id,
            )


async def _find(connection: Connection, name: ProcessName, *, lock: bool = False) -> Record | None:
    row: Record | None = await connection.fetchrow(
        f"""
        SELECT mutable FROM processes WHERE workspace = ANY ($1) AND process_id = $2 ORDER BY mutable LIMIT 1
        {"FOR UPDATE" if lock else ""}
        """,
        [name.workspace, EVERYWHERE],
        name.process_id,
    )
    return row


async def _lock_mutable(connection: Connection, name: ProcessName) -> None:
    _require_mutable(name, await _find(connection, name, lock=True))


def _require_mutable(name: ProcessName, existing: Record | None) -> None:
    if existing is None:
        raise no_such(name)
    if not existing["mutable"]:
        raise immutable(name)


async def _add_revision(connection: Connection, name: ProcessName, deployable: Deployable, by: str) -> Any:
    return await connection.fetchval(
        """
        INSERT INTO process_revisions (
            revision_id, workspace, process_id, revision, digest, media_type, workflow_id, backend, description,
            cwl_inputs, deployed_by
        )
        SELECT $1, $2, $3, coalesce(max(revision), 0) + 1, $4, $5, $6, $7, $8, $9, $10
        FROM process_revisions WHERE workspace = $2 AND process_id = $3
        RETURNING revision_id
        """,
        uuid7(),
        name.workspace,
        name.process_id,
        deployable.digest,
        deployable.media_type,
        deployable.workflow_id,
        deployable.backend,
        deployable.description,
        deployable.cwl_inputs,
        by,
    )


def _in_the_way(name: ProcessName, existing: Record) -> AlreadyExists | PermissionDenied:
    return _duplicated(name) if existing["mutable"] else immutable(name)


def _duplicated(name: ProcessName) -> AlreadyExists:
    return AlreadyExists(
        ERROR_REASON_DUPLICATED_PROCESS,
        "Workspace {workspace} has a process {process} already. Replace it with PUT, or undeploy it first.",
        workspace=name.workspace,
        process=name.process_id,
    )
