"""Lists of jobs: what the caller asks for, what the policy shows, page by page, newest first."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self
from uuid import UUID

from services.access.policy import ListFilter
from services.ogc.interval import Interval, parse_interval
from services.records.jobs import COLUMNS, FROM, Job
from services.shared.errors import InvalidArgument
from services.shared.names import PROCESS_ID, WorkspaceName
from services.shared.postgres import Database
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_PAGE_TOKEN, ERROR_REASON_INVALID_QUERY_PARAMETER
from workflow_runner.v1.status_service_pb2 import ListJobsRequest

STATES = ("accepted", "running", "successful", "failed", "dismissed")
TYPES = ("process",)
CALLBACK_STATES = ("pending", "delivered", "dead")

# A list shows neither the request nor the results, which can be megabytes.
LISTED = COLUMNS.replace(" request,", " '{}'::json AS request,").replace(" results,", " NULL::json AS results,")


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs of a workspace a caller asks for. All of it must hold; what is None or empty holds for every job."""

    workspace: str
    process_ids: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    datetime: str = ""
    min_duration: timedelta | None = None
    max_duration: timedelta | None = None

    @classmethod
    def of(cls, request: ListJobsRequest) -> Self:
        """Reads a request. Raises INVALID_QUERY_PARAMETER."""
        _one_of("type", TYPES, _split(request.types))
        process_ids = _split(request.process_ids)
        for process_id in process_ids:
            if not PROCESS_ID.fullmatch(process_id):
                raise _invalid("processID", f"{process_id[:80]!r} is not the id of a process")
        wanted = cls(
            workspace=WorkspaceName.parse(request.parent).workspace,
            process_ids=process_ids,
            states=_one_of("status", STATES, _split(request.states)),
            datetime=request.datetime,
            min_duration=timedelta(seconds=request.min_duration) if request.HasField("min_duration") else None,
            max_duration=timedelta(seconds=request.max_duration) if request.HasField("max_duration") else None,
        )
        # Read once here, so that a fault is the caller's and not the store's.
        _ = wanted.created
        return wanted

    def as_shown_under_alias(self) -> Self:
        """The same where an accepted job shows as running."""
        if "running" not in self.states:
            return self
        return replace(self, states=(*self.states, "accepted"))

    @property
    def created(self) -> Interval | None:
        """When the jobs were accepted. Raises INVALID_QUERY_PARAMETER."""
        return parse_interval(self.datetime) if self.datetime else None

    @property
    def scope(self) -> tuple[str, ...]:
        """What a page token of this list is bound to."""
        return (
            "jobs",
            self.workspace,
            ",".join(sorted(self.process_ids)),
            ",".join(sorted(self.states)),
            self.datetime,
            str(self.min_duration),
            str(self.max_duration),
        )


class JobListStore:
    """Reads pages of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        wanted: JobFilter,
        visible: ListFilter,
        *,
        after: UUID | None,
        size: int,
        before: UUID | None = None,
        skip: int = 0,
    ) -> list[Job]:
        """Answers at most `size` jobs, newest first: those that follow `after`, or lead up to `before`."""
        statement, values = page_query(wanted, visible, after=after, before=before, skip=skip, size=size)
        jobs = [Job.from_row(row) for row in await self._database.fetch(statement, *values)]
        return jobs if before is None else jobs[::-1]

    async def count(self, wanted: JobFilter, visible: ListFilter) -> int:
        """How many jobs there are. Takes as long as there are many."""
        where = _where(wanted, visible)
        number: int = await self._database.fetchval(
            f"SELECT count(*) FROM jobs WHERE {' AND '.join(where.texts)}", *where.values
        )
        return number


def page_query(
    wanted: JobFilter,
    visible: ListFilter,
    *,
    after: UUID | None,
    size: int,
    before: UUID | None = None,
    skip: int = 0,
) -> tuple[str, list[object]]:
    """Makes the statement of a page and the values bound to it. Only conditions that are set are in it, so that the
    planner sees which index serves them."""
    where = _where(wanted, visible)
    if after is not None:
        where.add("job_id < {}", after)
    if before is not None:
        where.add("job_id > {}", before)
    statement = f"""
        SELECT {LISTED} FROM {FROM}
        WHERE {" AND ".join(where.texts)}
        ORDER BY job_id {"DESC" if before is None else "ASC"} LIMIT {where.bind(size)}
    """
    if skip:
        statement += f" OFFSET {where.bind(skip)}"
    return statement, where.values


def _where(wanted: JobFilter, visible: ListFilter) -> "_Conditions":
    where = _Conditions()
    where.add("jobs.workspace = {}", wanted.workspace)
    _add_wanted(where, wanted)
    _add_visible(where, visible)
    return where


def callback_states(values: Iterable[str]) -> list[str]:
    """Reads the states of a list of callbacks. Raises INVALID_QUERY_PARAMETER."""
    return list(_one_of("state", CALLBACK_STATES, _split(values)))


def parse_job_token(after: str | None) -> UUID | None:
    """Reads the id in a page token. Raises INVALID_PAGE_TOKEN."""
    try:
        return None if after is None else UUID(after)
    except ValueError as error:
        raise InvalidArgument(ERROR_REASON_INVALID_PAGE_TOKEN, "The page token was not made for this list.") from error


class _Conditions:
    """Conditions and the values they are bound to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: list[object] = []

    def add(self, text: str, *values: object) -> None:
        self.texts.append(text.format(*(self.bind(value) for value in values)))

    def bind(self, value: object) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


def _add_wanted(where: _Conditions, wanted: JobFilter) -> None:
    # One value is an equality, which an index can give in the order of the list; several values are not.
    for column, values in (("jobs.process_id", wanted.process_ids), ("state", wanted.states)):
        if len(values) == 1:
            where.add(f"{column} = {{}}", values[0])
        elif values:
            where.add(f"{column} = ANY ({{}}::text[])", list(values))
    if (created := wanted.created) is not None:
        if created.start is not None:
            where.add("jobs.create_time >= {}", created.start)
        if created.end is not None:
            where.add("jobs.create_time < {}", created.end)
    # A job that has not begun has no duration: comparing with it yields NULL, which leaves the job out, as the standard
    # wants (`job-list/duration-response`).
    if wanted.min_duration is not None:
        where.add("coalesce(end_time, now()) - start_time >= {}::interval", wanted.min_duration)
    if wanted.max_duration is not None:
        where.add("coalesce(end_time, now()) - start_time <= {}::interval", wanted.max_duration)


def _add_visible(where: _Conditions, visible: ListFilter) -> None:
    if visible.everything:
        return
    reasons = _Conditions()
    reasons.values = where.values
    if visible.workspaces:
        reasons.add("calling_workspace = ANY ({}::text[])", list(visible.workspaces))
    if visible.subject is not None:
        reasons.add("jobs.owner = {}", visible.subject)
    if visible.visibilities:
        reasons.add(
            """EXISTS (
                SELECT FROM processes
                WHERE processes.workspace = jobs.workspace AND processes.process_id = jobs.process_id
                  AND visibility = ANY ({}::text[])
            )""",
            [visibility.replace("-", "_") for visibility in visible.visibilities],
        )
    where.texts.append(f"({' OR '.join(reasons.texts) or 'false'})")


def _split(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _one_of(parameter: str, known: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in known:
            raise _invalid(parameter, f"{value[:80]!r} is none of {', '.join(known)}")
    return values


def _invalid(parameter: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_INVALID_QUERY_PARAMETER,
        "The parameter {parameter} cannot be used: {why}.",
        parameter=parameter,
        why=why,
    )
