"""Keeps ingestions: the inbox of harvest messages, and the record of what became of them.

A message and its actions are recorded in one transaction, once per workspace, source and id. What happens to the
actions from then on is in `actions.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from uuid_utils.compat import uuid7

from services.access.authorization import Facts
from services.access.policy import ListFilter
from services.ingestion.harvest import Harvest
from services.ogc.paging import decode_token, encode_token, invalid_page_token
from services.ogc.requests import RestRequest
from services.shared.errors import AlreadyExists, ResourceExhausted
from services.shared.messages import to_timestamp
from services.shared.names import IngestionName, no_such
from services.shared.postgres import Connection, Database, Record
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
            create_time=to_timestamp(self.create_time),
            end_time=to_timestamp(self.end_time),
            links=[rest.link("self", rest.url(self.name), title="This ingestion")] if rest else (),
        )


@dataclass(frozen=True)
class Page:
    """Ingestions, newest first."""

    ingestions: Sequence[Ingestion]
    next_page_token: str | None


class IngestionStore:
    """Records messages, reads and lists ingestions."""

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
