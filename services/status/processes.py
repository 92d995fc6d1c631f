"""Lists of processes: what is deployed in a workspace and what is built in, as far as the policy shows it, by id."""

from services.access.policy import ListFilter
from services.records.processes import COLUMNS, EVERYWHERE, Process
from services.shared.postgres import Database


class ProcessListStore:
    """Reads pages of processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, workspace: str, visible: ListFilter, *, after: str | None, size: int) -> list[Process]:
        """Answers at most `size` processes of a workspace whose ids follow `after`."""
        # Everything in this list is deployed in this workspace, or built in and so part of it. Whoever may see the
        # workspace sees it all; others see what is shared with them or with everybody.
        everything = visible.everything or workspace in visible.workspaces
        rows = await self._database.fetch(
            f"""
            SELECT {COLUMNS} FROM processes JOIN process_revisions USING (revision_id, process_id)
            WHERE processes.workspace = ANY ($1::text[])
              AND process_id > $2
              AND (
                $3
                OR visibility = ANY ($4::text[])
                OR (visibility = 'shared' AND (shared_workspaces && $5::text[] OR shared_groups && $6::text[]))
              )
            ORDER BY process_id LIMIT $7
            """,
            [workspace, EVERYWHERE],
            after or "",
            everything,
            [visibility.replace("-", "_") for visibility in visible.visibilities],
            list(visible.workspaces),
            list(visible.groups),
            size,
        )
        return [Process.from_row(row, workspace) for row in rows]
