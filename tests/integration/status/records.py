"""Puts processes and jobs into the database as submission would leave them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.records.artifacts import ArtifactStore, log_part, output_key
from services.records.jobs import ENDED
from services.records.processes import package_key
from services.shared.postgres import Connection, Database

PACKAGE = b"cwlVersion: v1.2\nclass: CommandLineTool\n"
DIGEST = "sha256:" + "a" * 64
DESCRIPTION = {
    "id": "sample",
    "title": "A sample",
    "version": "1.0.0",
    "jobControlOptions": ["async-execute", "dismiss"],
    "outputTransmission": ["value", "reference"],
    "inputs": {"zeta": {"schema": {"maximum": 9007199254740993}}, "alpha": {"schema": {"type": "string"}}},
    "outputs": {},
}


class Records:
    """Writes with the login of submission."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        self._database = database
        self.artifacts = artifacts

    async def process(
        self,
        process_id: str = "sample",
        workspace: str = "ada",
        *,
        visibility: str = "private",
        shared_workspaces: Sequence[str] = (),
        shared_groups: Sequence[str] = (),
        backend: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> UUID:
        """Deploys a process; a second time, its next revision."""
        revision_id = uuid7()
        await self.artifacts.put(package_key(DIGEST), PACKAGE)
        async with self._database.transaction() as connection:
            await connection.execute(
                """
                INSERT INTO process_revisions (
                    revision_id, workspace, process_id, revision, digest, media_type, workflow_id, backend, description,
                    cwl_inputs, deployed_by
                )
                SELECT $1, $2, $3, 1 + count(*), $4, 'application/cwl+yaml', '', $5, $6, '{}', 'grace'
                FROM process_revisions WHERE workspace = $2 AND process_id = $3
                """,
                revision_id,
                workspace,
                process_id,
                DIGEST,
                backend,
                DESCRIPTION | {"id": process_id} | dict(about or {}),
            )
            await connection.execute(
                """
                INSERT INTO processes (
                    workspace, process_id, revision_id, owner, mutable, visibility, shared_workspaces, shared_groups
                ) VALUES ($1, $2, $3, 'grace', $4, $5, $6, $7)
                ON CONFLICT (workspace, process_id) DO UPDATE SET revision_id = excluded.revision_id
                """,
                workspace,
                process_id,
                revision_id,
                backend != "builtin",
                visibility,
                list(shared_workspaces),
                list(shared_groups),
            )
        return revision_id

    async def job(
        self,
        *,
        workspace: str = "ada",
        process_id: str = "sample",
        calling_workspace: str | None = None,
        owner: str = "ada",
        state: str = "accepted",
        created: datetime | None = None,
        lasted: timedelta | None = None,
        request: dict[str, Any] | None = None,
        results: dict[str, Any] | None = None,
        failure: dict[str, Any] | None = None,
    ) -> UUID:
        """Accepts a job and brings it into a state. The process has to be deployed."""
        job_id = uuid7()
        created = created or datetime.now(UTC)
        begun = state in ("running", "successful", "failed") or lasted is not None
        start = (datetime.now(UTC) - lasted if lasted and state == "running" else created) if begun else None
        end = (start or created) + (lasted or timedelta(seconds=1)) if state in ENDED else None
        if state == "failed":
            failure = failure or {"reason": "STEP_FAILED", "message": "It failed."}
        async with self._database.transaction() as connection:
            await connection.execute(
                """
                INSERT INTO jobs (
                    job_id, workspace, process_id, revision_id, calling_workspace, owner, state, request, create_time,
                    start_time, end_time, failure, results
                )
                SELECT $1, $2, process_id, revision_id, $4, $5, $6, $7, $8, $9, $10, $11, $12
                FROM processes WHERE workspace = ANY ($13) AND process_id = $3
                """,
                job_id,
                workspace,
                process_id,
                calling_workspace or workspace,
                owner,
                state,
                request or {"inputs": {}},
                created,
                start,
                end,
                failure,
                results,
                [workspace, "*"],
            )
            for passed in _way_to(state):
                await add_event(connection, job_id, "state", {"status": passed})
        return job_id

    async def event(self, job_id: UUID, kind: str, details: dict[str, Any]) -> int:
        """Records that something happened to a job."""
        async with self._database.transaction() as connection:
            return await add_event(connection, job_id, kind, details)

    async def move(self, job_id: UUID, state: str) -> None:
        """Brings a job into another state, with its event."""
        async with self._database.transaction() as connection:
            await connection.execute(
                """
                UPDATE jobs SET state = $2, start_time = coalesce(start_time, now()),
                    end_time = CASE WHEN $3 THEN now() END,
                    failure = $4
                WHERE job_id = $1
                """,
                job_id,
                state,
                state in ENDED,
                {"reason": "STEP_FAILED", "message": "It failed."} if state == "failed" else None,
            )
            await add_event(connection, job_id, "state", {"status": state})

    async def step(self, job_id: UUID, step: str, state: str = "running", exit_code: int | None = None) -> None:
        """Begins or ends a step."""
        async with self._database.transaction() as connection:
            await connection.execute(
                """
                INSERT INTO job_steps (job_id, step, position, state, start_time, exit_code)
                SELECT $1, $2, count(*), $3, now(), $4 FROM job_steps WHERE job_id = $1
                ON CONFLICT (job_id, step) DO UPDATE
                SET state = excluded.state, exit_code = excluded.exit_code, end_time = now()
                """,
                job_id,
                step,
                state,
                exit_code,
            )
            await add_event(connection, job_id, "step", {"step": step, "status": state})

    async def log(self, job_id: UUID, step: str, text: bytes, *, workspace: str = "ada") -> None:
        """Adds to the log of a step that has begun."""
        size = await self._database.fetchval(
            "SELECT log_size FROM job_steps WHERE job_id = $1 AND step = $2", job_id, step
        )
        await self.artifacts.put(log_part(f"jobs/{workspace}/{job_id}/", step, size), text)
        async with self._database.transaction() as connection:
            size += len(text)
            await connection.execute(
                "UPDATE job_steps SET log_size = $3 WHERE job_id = $1 AND step = $2", job_id, step, size
            )
            await add_event(connection, job_id, "log", {"step": step, "size": size})

    async def file(self, job_id: UUID, output: str, path: str, content: bytes, *, workspace: str = "ada") -> str:
        """Stores a file of an output, answers its key."""
        key = output_key(f"jobs/{workspace}/{job_id}/", output, path)
        await self.artifacts.put(key, content)
        return key

    async def results(self, job_id: UUID, results: dict[str, Any]) -> None:
        """Ends a running job with results."""
        await self._database.execute("UPDATE jobs SET results = $2 WHERE job_id = $1", job_id, results)
        await self.move(job_id, "successful")

    async def execute(self, statement: str, *arguments: object) -> None:
        """Runs any statement."""
        await self._database.execute(statement, *arguments)


async def add_event(connection: Connection, job_id: UUID, kind: str, details: dict[str, Any]) -> int:
    """Numbers an event under the lock of its job, as submission does."""
    sequence: int = await connection.fetchval(
        "UPDATE jobs SET sequence = sequence + 1, update_time = now() WHERE job_id = $1 RETURNING sequence", job_id
    )
    await connection.execute(
        "INSERT INTO job_events (job_id, sequence, kind, details) VALUES ($1, $2, $3, $4)",
        job_id,
        sequence,
        kind,
        details,
    )
    return sequence


def _way_to(state: str) -> Sequence[str]:
    match state:
        case "accepted":
            return ("accepted",)
        case "running":
            return ("accepted", "running")
    return ("accepted", "running", state)
