"""Lists of callbacks: which subscribers were told of which job, and which messages were given up."""

from base64 import b64encode
from urllib.parse import urlsplit
from uuid import UUID

from services.access.policy import ListFilter
from services.shared.messages import to_timestamp
from services.shared.names import JobName, WorkspaceName
from services.shared.postgres import Database, Record
from workflow_runner.v1.callback_pb2 import Callback

MOST_OF_A_JOB = 1000

_COLUMNS = """
    callback_id, callbacks.workspace, callbacks.job_id, kind, uri, callbacks.state, attempts, callbacks.message,
    callbacks.create_time, due_time, callbacks.end_time
"""


class CallbackListStore:
    """Reads callbacks, and the keys that they are verified with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_job(self, name: JobName) -> list[Callback]:
        """Answers the callbacks of a job, in the order in which they are delivered."""
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM callbacks WHERE job_id = $1 ORDER BY callback_id LIMIT $2",
            name.job_id,
            MOST_OF_A_JOB,
        )
        return [_callback(row) for row in rows]

    async def page(
        self, name: WorkspaceName, visible: ListFilter, *, states: list[str], after: UUID | None, size: int
    ) -> list[Callback]:
        """Answers at most `size` callbacks of a workspace's jobs that are older than `after`, newest first."""
        rows = await self._database.fetch(
            f"""
            SELECT {_COLUMNS} FROM callbacks JOIN jobs USING (job_id)
            WHERE callbacks.workspace = $1
                AND ($2::text[] = '{{}}' OR callbacks.state = ANY ($2))
                AND ($3::uuid IS NULL OR callback_id < $3)
                AND ($4 OR calling_workspace = ANY ($5::text[]) OR jobs.owner = $6)
            ORDER BY callback_id DESC LIMIT $7
            """,
            name.workspace,
            states,
            after,
            visible.everything,
            list(visible.workspaces),
            visible.subject,
            size,
        )
        return [_callback(row) for row in rows]

    async def public_keys(self) -> list[str]:
        """Answers the keys that verify messages, as Standard Webhooks writes them, newest first."""
        rows = await self._database.fetch(
            "SELECT public_key FROM callback_keys WHERE retire_time IS NULL ORDER BY create_time DESC"
        )
        return [f"whpk_{b64encode(row['public_key']).decode()}" for row in rows]


def _callback(row: Record) -> Callback:
    uri = urlsplit(row["uri"])
    message = Callback(
        callback_id=str(row["callback_id"]),
        job=str(JobName(row["workspace"], row["job_id"])),
        kind=row["kind"],
        # A query, or a user name, may be a secret between the subscriber and whoever executed the process.
        uri=f"{uri.scheme}://{uri.hostname}{f':{uri.port}' if uri.port else ''}{uri.path}",
        state=row["state"],
        attempts=row["attempts"],
        message=row["message"],
        create_time=to_timestamp(row["create_time"]),
    )
    if row["state"] == "pending":
        message.due_time.CopyFrom(to_timestamp(row["due_time"]))
    if row["end_time"] is not None:
        message.end_time.CopyFrom(to_timestamp(row["end_time"]))
    return message
