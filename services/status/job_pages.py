"""Pages of the list of jobs: by the job they lie next to, or, under the paths of the EO DataHub, by number."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.access.policy import ListFilter
from services.ogc.paging import decode_token, encode_token
from services.records.jobs import Job
from services.status.jobs import JobFilter, JobListStore, parse_job_token

BEFORE = "<"
"""Begins the content of a token whose page ends before its job, instead of beginning after it."""


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """A page, and where its neighbors are."""

    jobs: Sequence[Job]
    next_token: str | None = None
    """Absent on the last page."""
    prev_token: str | None = None
    """Absent on the first page."""


async def turn_to(store: JobListStore, wanted: JobFilter, visible: ListFilter, *, token: str, size: int) -> JobPage:
    """The page of a token, the first one without. Raises INVALID_PAGE_TOKEN."""
    place = decode_token(token, wanted.scope)
    if place is not None and place.startswith(BEFORE):
        before = parse_job_token(place.removeprefix(BEFORE))
        found = await store.page(wanted, visible, after=None, before=before, size=size + 1)
        jobs = found[-size:]
        return _page(wanted, jobs, has_next=True, has_prev=len(found) > size)
    found = await store.page(wanted, visible, after=parse_job_token(place), size=size + 1)
    return _page(wanted, found[:size], has_next=len(found) > size, has_prev=place is not None)


def _page(wanted: JobFilter, jobs: Sequence[Job], *, has_next: bool, has_prev: bool) -> JobPage:
    def token(job_id: UUID, mark: str = "") -> str:
        return encode_token(f"{mark}{job_id}", wanted.scope)

    return JobPage(
        jobs=jobs,
        next_token=token(jobs[-1].job_id) if has_next and jobs else None,
        prev_token=token(jobs[0].job_id, BEFORE) if has_prev and jobs else None,
    )
