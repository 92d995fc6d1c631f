"""Keeps ingestions: the inbox of harvest messages, their actions, and which process came from which key.

A message and its actions are recorded in one transaction, once per workspace, source and id. Every write of a harvester
carries the fence of its claim; a claim that has been overtaken changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from uuid_utils.compat import uuid7

from services.ingestion.harvest import Harvest
from services.shared.authorization import Facts, no_such
from services.shared.errors import AlreadyExists, ResourceExhausted
from services.shared.names import IngestionName
from services.shared.pages import decode_token, encode_token, invalid_page_token
from services.shared.policy import ListFilter
from services.shared.postgres import Connection, Database, Record
from services.shared.rest import RestRequest
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_MESSAGE_ID_REUSED,
    ERROR_REASON_TOO_MANY_REQUESTS,
)
from workflow_runner.v1.ingestion_pb2 import Ingestion as IngestionMessage
from workflow_runner.v1.ingestion_pb2 import IngestionAction as ActionMessage

MOST_PENDING = 10_000
"""Actions that one workspace may have waiting. Every claim looks at all that wait."""
MOST_ACTIONS_IN_A_PAGE = 2000
"""Keeps a page within the size of a gRPC message, with keys and sentences of the greatest length."""
LONGEST_SENTENCE = 1000
HOLDING_UP = 3
"""An action that was tried so often no longer holds up the others of its workspace, save those on the same key."""

COLUMNS = (
    "ingestion_id, workspace, source, message_id, message_digest, bucket_name, state, message, create_time, end_time"
)
ACTION_COLUMNS = "ingestion_id, position, key, verb, state, process_id, revision, message, attempts"

# Brings an ingestion in line with its actions. Its row is locked by whoever runs this, so that of two actions which end
# together one sees the other.
SETTLE = """
UPDATE ingestions SET
  state = CASE WHEN pending > 0 THEN 'accepted' WHEN failed > 0 THEN 'failed' ELSE 'successful' END,
  message = CASE WHEN pending = 0 AND failed > 0 THEN format('%s of %s keys could not be taken in.', failed, total) END,
  end_time = CASE WHEN pending = 0 THEN now() END
FROM (
  SELECT count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'failed') AS failed,
    count(*) AS total
  FROM ingestion_actions WHERE ingestion_id = $1
) AS actions
WHERE ingestion_id = $1
"""


@dataclass(frozen=True, kw_only=True)
class Action:
    """What an ingestion does for one key."""

    position: int
    key: str
    verb: str
    state: str
    process_id: str | None
    revision: int | None
    message: str | None
    attempts: int

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Reads a row that has ACTION_COLUMNS."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    def to_message(self) -> ActionMessage:
        """Makes the message."""
        return ActionMessage(
            key=self.key,
            verb=self.verb,
            state=self.state,
            process_id=self.process_id,
            revision=self.revision,
            message=self.message,
            attempts=self.attempts,
        )


@dataclass(frozen=True, kw_only=True)
class Ingestion:
    """A harvest message that was taken in."""

    ingestion_id: UUID
    workspace: str
    source: str
    message_id: str
    message_digest: bytes
    bucket_name: str
    state: str
    message: str | None
    create_time: datetime
    end_time: datetime | None
    actions: tuple[Action, ...]

    @classmethod
    def from_row(cls, row: Record, actions: Sequence[Action]) -> Self:
        """Reads a row that has COLUMNS."""
        values = {name: row[name] for name in cls.__dataclass_fields__ if name != "actions"}
        return cls(**values, actions=tuple(actions))

    @property
    def name(self) -> IngestionName:
        """The resource name."""
        return IngestionName(self.workspace, self.ingestion_id)

    def to_message(self, rest: RestRequest | None) -> IngestionMessage:
        """Makes the message; with links for a caller over REST."""
        return IngestionMessage(
            name=str(self.name),
            ingestion_id=str(self.ingestion_id),
            message_id=self.message_id,
            source=self.source,
            bucket_name=self.bucket_name,
            state=self.state,
            message=self.message,
            actions=[action.to_message() for action in self.actions],
            create_time=_timestamp(self.create_time),
            end_time=_timestamp(self.end_time),
            links=[rest.link("self", rest.url(self.name), title="This ingestion")] if rest else (),
        )


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


@dataclass(frozen=True)
class Page:
    """Ingestions, newest first."""

    ingestions: Sequence[Ingestion]
    next_page_token: str | None


class IngestionStore:
    """Records ingestions and hands out their actions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, workspace: str, harvest: Harvest, *, received_from: str) -> Ingestion:
        """Records a message, or finds it where it came before. May be repeated.

        Raises MESSAGE_ID_REUSED for another message under the same id, TOO_MANY_REQUESTS when too much waits.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                f"""
                INSERT INTO ingestions (ingestion_id, workspace, source, message_id, message_digest, bucket_name,
                  received_from)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                ON CONFLICT ON CONSTRAINT ingestions_message_key DO NOTHING
                RETURNING {COLUMNS}
                """,
                uuid7(),
                workspace,
                harvest.source,
                harvest.message_id,
                harvest.digest,
                harvest.bucket_name,
                received_from,
            )
            if row is None:
                return await self._find_same(connection, workspace, harvest)
            await _check_pending(connection, workspace)
            await connection.execute(
                """
                INSERT INTO ingestion_actions (ingestion_id, position, key, verb, message, state)
                SELECT $1, position, key, verb, message, CASE verb WHEN 'ignore' THEN 'successful' ELSE 'pending' END
                FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS a (key, verb, message, position)
                """,
                row["ingestion_id"],
                [action.key for action in harvest.actions],
                [action.verb for action in harvest.actions],
                [action.message for action in harvest.actions],
            )
            await connection.execute(SETTLE, row["ingestion_id"])
            return await _read(connection, IngestionName(workspace, row["ingestion_id"]))

    async def get(self, name: IngestionName) -> Ingestion:
        """Raises NO_SUCH_INGESTION."""
        async with self._database.connection() as connection:
            return await _read(connection, name)

    async def list_page(self, workspace: str, allowed: ListFilter, *, page_size: int, page_token: str) -> Page:
        """Answers a page of what the filter allows, newest first. A page of large ingestions holds fewer of them.

        Raises INVALID_PAGE_TOKEN.
        """
        scope = ("ingestions", workspace)
        after = _ingestion_id(decode_token(page_token, scope))
        rows = await self._database.fetch(
            f"""
            SELECT {COLUMNS}, (SELECT count(*) FROM ingestion_actions a WHERE a.ingestion_id = i.ingestion_id) AS size
            FROM ingestions i
            WHERE workspace = $1 AND ($2 OR workspace = ANY ($3)) AND ($4::uuid IS NULL OR ingestion_id < $4)
            ORDER BY ingestion_id DESC LIMIT $5
            """,
            workspace,
            allowed.everything,
            list(allowed.workspaces),
            after,
            page_size + 1,
        )
        shown: list[Record] = []
        size = 0
        for row in rows[:page_size]:
            size += row["size"]
            if shown and size > MOST_ACTIONS_IN_A_PAGE:
                break
            shown.append(row)
        actions = await self._actions([row["ingestion_id"] for row in shown])
        return Page(
            [Ingestion.from_row(row, actions.get(row["ingestion_id"], ())) for row in shown],
            encode_token(str(shown[-1]["ingestion_id"]), scope) if len(shown) < len(rows) else None,
        )

    async def facts(self, name: IngestionName) -> Facts | None:
        """What the policy needs to know of an ingestion: that it is there."""
        found = await self._database.fetchval(
            "SELECT true FROM ingestions WHERE ingestion_id = $1 AND workspace = $2", name.ingestion_id, name.workspace
        )
        return {} if found else None

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

    async def _find_same(self, connection: Connection, workspace: str, harvest: Harvest) -> Ingestion:
        row = await connection.fetchrow(
            """
            SELECT ingestion_id, message_digest FROM ingestions
            WHERE workspace = $1 AND source = $2 AND message_id = $3
            """,
            workspace,
            harvest.source,
            harvest.message_id,
        )
        if row["message_digest"] != harvest.digest:
            raise AlreadyExists(
                ERROR_REASON_MESSAGE_ID_REUSED,
                "A message of id {message} came from that source before, with other content.",
                message=harvest.message_id,
            )
        return await _read(connection, IngestionName(workspace, row["ingestion_id"]))

    async def _actions(self, ingestion_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Action]]:
        async with self._database.connection() as connection:
            return await _read_actions(connection, ingestion_ids)


async def _check_pending(connection: Connection, workspace: str) -> None:
    pending = await connection.fetchval(
        """
        SELECT count(*) FROM ingestion_actions JOIN ingestions USING (ingestion_id)
        WHERE ingestion_actions.state = 'pending' AND workspace = $1
        """,
        workspace,
    )
    if pending >= MOST_PENDING:
        raise ResourceExhausted(
            ERROR_REASON_TOO_MANY_REQUESTS,
            "The workspace has {limit} packages waiting to be taken in; send the message again later.",
            limit=MOST_PENDING,
            retry_in=timedelta(minutes=1),
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


async def _read(connection: Connection, name: IngestionName) -> Ingestion:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM ingestions WHERE ingestion_id = $1 AND workspace = $2",
        name.ingestion_id,
        name.workspace,
    )
    if row is None:
        raise no_such(name)
    actions = await _read_actions(connection, [name.ingestion_id])
    return Ingestion.from_row(row, actions.get(name.ingestion_id, ()))


async def _read_actions(connection: Connection, ingestion_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Action]]:
    rows = await connection.fetch(
        f"SELECT {ACTION_COLUMNS} FROM ingestion_actions WHERE ingestion_id = ANY ($1) ORDER BY ingestion_id, position",
        list(ingestion_ids),
    )
    found: dict[UUID, list[Action]] = {}
    for row in rows:
        found.setdefault(row["ingestion_id"], []).append(Action.from_row(row))
    return found


def _ingestion_id(after: str | None) -> UUID | None:
    try:
        return UUID(after) if after else None
    except ValueError as error:
        raise invalid_page_token() from error


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
