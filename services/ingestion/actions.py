"""Hands out the actions of ingestions, records their ends, and keeps which process came from which key.

Every write of a harvester carries the fence of its claim; a claim that has been overtaken changes nothing.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.ingestion.ingestions import SETTLE
from services.shared.postgres import Connection, Database

LONGEST_SENTENCE = 1000
HOLDING_UP = 3
"""An action that was tried so often no longer holds up the others of its workspace, save those on the same key."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An action in the hands of one harvester until its lease is over."""

    ingestion_id: UUID
    position: int
    workspace: str
    bucket_name: str
    key: str
    verb: str
    attempts: int
    fence: int
    age: timedelta
    """How long ago the message came."""
    harvested_process_id: str | None
    """The process that came from the key before."""


class ActionStore:
    """Hands out actions and ends them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim_due(self, *, lease: timedelta) -> Claim | None:
        """Hands out an action that is due and hides it for the lease.

        In a workspace messages are taken in the order in which they came, and actions in the order of their message.
        One that keeps failing holds up only its own key. Which workspace comes next is left to the lot, so that a large
        message of one does not keep others waiting.
        """
        row = await self._database.fetchrow(
            """
            WITH waiting AS (
              SELECT ingestion_id, position, workspace, create_time, row_number() OVER same_key AS turn,
                first_value(attempts) OVER same_key AS attempts
              FROM ingestion_actions JOIN ingestions USING (ingestion_id)
              WHERE ingestion_actions.state = 'pending'
              WINDOW same_key AS (
                PARTITION BY workspace, bucket_name, key ORDER BY create_time, ingestion_id, position
              )
            ), queue AS (
              SELECT ingestion_id, position, turn,
                count(*) FILTER (WHERE attempts < $2) OVER (
                  PARTITION BY workspace ORDER BY create_time, ingestion_id, position
                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS ahead
              FROM waiting
            )
            UPDATE ingestion_actions a
            SET due_time = now() + $1, attempts = attempts + 1, fence = fence + 1
            FROM ingestions i
            WHERE i.ingestion_id = a.ingestion_id AND (a.ingestion_id, a.position) = (
              SELECT ingestion_id, position FROM ingestion_actions
              WHERE state = 'pending' AND due_time <= now() AND (ingestion_id, position) IN (
                SELECT ingestion_id, position FROM queue WHERE turn = 1 AND ahead = 0
              )
              ORDER BY random() LIMIT 1
              FOR UPDATE SKIP LOCKED
            )
            RETURNING a.ingestion_id, a.position, i.workspace, i.bucket_name, a.key, a.verb, a.attempts, a.fence,
              now() - i.create_time AS age,
              (
                SELECT process_id FROM harvested_packages h
                WHERE h.workspace = i.workspace AND h.bucket_name = i.bucket_name AND h.key = a.key
              ) AS harvested_process_id
            """,
            lease,
            HOLDING_UP,
        )
        return Claim(**{name: row[name] for name in Claim.__dataclass_fields__}) if row else None

    async def record_deployed(self, claim: Claim, process_id: str, revision: int, digest: str) -> None:
        """Ends an action whose package was deployed. The process now belongs to this key, and to no other."""
        async with self._database.transaction() as connection:
            if not await _end(connection, claim, "successful", process_id=process_id, revision=revision):
                return
            await connection.execute(
                """
                DELETE FROM harvested_packages
                WHERE workspace = $1 AND process_id = $2 AND (bucket_name, key) <> ($3, $4)
                """,
                claim.workspace,
                process_id,
                claim.bucket_name,
                claim.key,
            )
            await connection.execute(
                """
                INSERT INTO harvested_packages (workspace, bucket_name, key, process_id, digest)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (workspace, bucket_name, key)
                DO UPDATE SET process_id = excluded.process_id, digest = excluded.digest, update_time = now()
                """,
                claim.workspace,
                claim.bucket_name,
                claim.key,
                process_id,
                digest,
            )

    async def record_undeployed(self, claim: Claim, process_id: str) -> None:
        """Ends an action whose process is gone."""
        async with self._database.transaction() as connection:
            if await _end(connection, claim, "successful", process_id=process_id):
                await connection.execute(
                    """
                    DELETE FROM harvested_packages
                    WHERE workspace = $1 AND bucket_name = $2 AND key = $3 AND process_id = $4
                    """,
                    claim.workspace,
                    claim.bucket_name,
                    claim.key,
                    process_id,
                )

    async def record_ignored(self, claim: Claim, message: str) -> None:
        """Ends an action for which there is nothing to do."""
        async with self._database.transaction() as connection:
            await _end(connection, claim, "successful", verb="ignore", message=message)

    async def record_refused(self, claim: Claim, message: str) -> None:
        """Ends an action that cannot be done."""
        async with self._database.transaction() as connection:
            await _end(connection, claim, "failed", process_id=claim.harvested_process_id, message=message)

    async def postpone(self, claim: Claim, message: str, *, pause: timedelta) -> None:
        """Makes an action due again after a pause, and lets the ingestion say why it waits."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(
                """
                UPDATE ingestion_actions SET due_time = now() + $4
                WHERE ingestion_id = $1 AND position = $2 AND fence = $3 AND state = 'pending' RETURNING true
                """,
                claim.ingestion_id,
                claim.position,
                claim.fence,
                pause,
            ):
                await connection.execute(
                    "UPDATE ingestions SET message = $2 WHERE ingestion_id = $1",
                    claim.ingestion_id,
                    message[:LONGEST_SENTENCE],
                )


async def _end(
    connection: Connection,
    claim: Claim,
    state: str,
    *,
    verb: str | None = None,
    process_id: str | None = None,
    revision: int | None = None,
    message: str | None = None,
) -> bool:
    """Ends an action; says whether the claim still held."""
    await connection.execute("SELECT FROM ingestions WHERE ingestion_id = $1 FOR UPDATE", claim.ingestion_id)
    ended = await connection.fetchval(
        """
        UPDATE ingestion_actions
        SET state = $4, verb = coalesce($5, verb), process_id = $6, revision = $7, message = $8
        WHERE ingestion_id = $1 AND position = $2 AND fence = $3 AND state = 'pending' RETURNING true
        """,
        claim.ingestion_id,
        claim.position,
        claim.fence,
        state,
        verb,
        process_id,
        revision,
        message[:LONGEST_SENTENCE] if message else None,
    )
    if ended:
        await connection.execute(SETTLE, claim.ingestion_id)
    return bool(ended)
